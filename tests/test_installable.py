"""The page as an app: its manifest, its icons, and what it shows when the box is off."""

import io
import json
import re
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient
from PIL import Image

from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import FOLDER, load_assets
from sightbox.web.pages import LANGUAGES, ground_colours, load_catalogue

SAFE = 0.8
"""The part of a maskable icon's width that no system cuts off (Web Application Manifest)."""

LARGEST_ICONS = 16 * 1024
"""What the icons may add to the wheel, in bytes."""


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return create_app(classifier, load_settings()).test_client()


def manifest(client: FlaskClient, language: str = "en") -> dict[str, object]:
    found: dict[str, object] = json.loads(client.get(f"/manifest.webmanifest?lang={language}").data)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_manifest_is_in_the_language_of_the_page(client: FlaskClient, language: str) -> None:
    response = client.get(f"/manifest.webmanifest?lang={language}")
    assert response.mimetype == "application/manifest+json"
    assert response.headers["Content-Language"] == LANGUAGES[language]
    texts, told = load_catalogue(language), manifest(client, language)
    assert (told["name"], told["lang"]) == (texts["page.title"], LANGUAGES[language])
    assert told["description"] == texts["page.description"]


@pytest.mark.parametrize("path", ["/", "/how-it-works", "/compare", "/kiosk"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_page_belongs_to_the_app(client: FlaskClient, path: str, language: str) -> None:
    page = client.get(f"{path}?lang={language}").get_data(as_text=True)
    assert f'rel="manifest" href="/manifest.webmanifest?lang={language}"' in page
    assert re.findall(r'name="theme-color".* content="(#\w+)"', page) == [*ground_colours()]


def test_app_is_the_same_one_in_every_language(client: FlaskClient) -> None:
    english, chinese = (manifest(client, language) for language in LANGUAGES)
    for key in ("id", "start_url", "scope", "short_name", "icons"):
        assert english[key] == chinese[key]


def test_each_icon_is_what_the_manifest_says(client: FlaskClient) -> None:
    icons = manifest(client)["icons"]
    assert isinstance(icons, list)
    kinds = {(icon["sizes"], icon["purpose"]) for icon in icons}
    assert kinds >= {("192x192", "any"), ("512x512", "any"), ("512x512", "maskable")}
    for icon in icons:
        response = client.get(urljoin("/", icon["src"]))
        assert (response.status_code, response.mimetype) == (200, icon["type"])
        if icon["type"] == "image/png":
            assert icon["sizes"] == "{}x{}".format(*Image.open(io.BytesIO(response.data)).size)
    sizes = [path.stat().st_size for path in (FOLDER / "icons").iterdir()]
    assert sum(sizes) <= LARGEST_ICONS


def test_drawing_of_the_maskable_icon_lies_in_the_safe_zone() -> None:
    picture = Image.open(FOLDER / "icons" / "maskable-512.png").convert("RGBA")
    ground = picture.getpixel((0, 0))
    assert ground == (0x0B, 0x6B, 0x55, 255)
    width = picture.width
    drawn = [
        ((x + 0.5 - width / 2) ** 2 + (y + 0.5 - width / 2) ** 2) ** 0.5
        for y in range(width)
        for x in range(width)
        if picture.getpixel((x, y)) != ground
    ]
    assert 0 < max(drawn) <= SAFE * width / 2


def test_colour_of_the_window_is_that_of_the_page(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    sheet = (FOLDER / "css/theme.css").read_text("utf-8")
    for scheme, colour in (("light", "#f2f4f3"), ("dark", "#101312")):
        assert f'media="(prefers-color-scheme: {scheme})" content="{colour}"' in page
        assert f"--ground: {colour};" in sheet
    assert manifest(client)["theme_color"] == manifest(client)["background_color"] == "#f2f4f3"


@pytest.mark.parametrize(("language", "other"), [("en", "zh"), ("zh", "en")])
def test_page_for_when_the_box_is_off_speaks_both_languages(
    client: FlaskClient, language: str, other: str
) -> None:
    page = client.get("/offline", headers={"Accept-Language": language}).get_data(as_text=True)
    titles = [load_catalogue(code)["error.network"] for code in (language, other)]
    assert 0 < page.index(titles[0]) < page.index(titles[1])
    assert "<script" not in page


def test_worker_may_act_for_all_pages_and_no_other_file_may(client: FlaskClient) -> None:
    name = "service-worker.js"
    for path in (f"/static/{name}", f"/static/{load_assets().version}/{name}"):
        assert client.get(path).headers["Service-Worker-Allowed"] == "/"
    assert "Service-Worker-Allowed" not in client.get("/static/js/worker.js").headers
