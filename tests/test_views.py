"""The pages that compare and that exhibit, as the server gives them."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import load_assets
from sightbox.web.pages import CATALOGUES, LANGUAGES, SAMPLES, load_catalogue

STATIC = CATALOGUES.parent
TEMPLATES = STATIC.parent / "templates"


@dataclass(frozen=True)
class View:
    """A page with files of its own.

    Attributes:
        part: Its path, and the folder of its files and of its texts.
        most: What it may weigh in one language, with all that it links, each file compressed, in
            bytes.
    """

    part: str
    most: int

    @property
    def files(self) -> list[Path]:
        return sorted((STATIC / self.part).iterdir())

    @property
    def scripts(self) -> list[Path]:
        return [path for path in self.files if path.suffix == ".js"]

    @property
    def template(self) -> str:
        return (TEMPLATES / f"{self.part}.html").read_text("utf-8")


VIEWS = (View("compare", 48 * 1024), View("kiosk", 40 * 1024))


@pytest.fixture(params=VIEWS, ids=lambda view: view.part)
def view(request: pytest.FixtureRequest) -> View:
    found: View = request.param
    return found


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return create_app(classifier, load_settings()).test_client()


def get(client: FlaskClient, path: str, accept: str = "") -> str:
    with client.get(path, headers={"Accept-Language": accept}) as response:
        assert response.status_code == 200, path
        return response.get_data(as_text=True)


def references(page: str) -> set[str]:
    """Returns the addresses of the files that a page links."""
    return set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))


def address(path: Path) -> str:
    """Returns where a page has one of its files."""
    return f"/static/{load_assets().version}/{path.relative_to(STATIC).as_posix()}"


def test_language_follows_address_then_browser(client: FlaskClient, view: View) -> None:
    for query, accept, language in (
        ("", "", "en"),
        ("", "zh-CN,en;q=0.8", "zh"),
        ("?lang=zh", "en", "zh"),
    ):
        page = get(client, f"/{view.part}{query}", accept)
        assert f'<html lang="{LANGUAGES[language]}"' in page
        assert load_catalogue(language, view.part)[f"{view.part}.title"] in page
        assert not re.search(r"\{\w*\}", page)


def test_language_is_told_to_caches_and_readers(client: FlaskClient, view: View) -> None:
    response = client.get(f"/{view.part}?lang=zh")
    assert response.headers["Content-Language"] == "zh-Hans"
    assert "Accept-Language" in response.headers["Vary"]


def test_first_page_links_it_and_it_links_the_first_page(client: FlaskClient, view: View) -> None:
    assert f'href="{view.part}"' in get(client, "/")
    assert 'href="./"' in get(client, f"/{view.part}")


def test_catalogues_have_the_same_keys_and_placeholders(view: View) -> None:
    english, chinese = (load_catalogue(language, view.part) for language in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        wanted = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", chinese[key])) == wanted, key
    # A text of both pages stands in the first page's catalogue alone.
    assert not english.keys() & load_catalogue("en").keys()


def test_catalogues_spell_no_key_twice(view: View) -> None:
    for path in (CATALOGUES / view.part).glob("*.json"):
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), path.name


def test_chinese_texts_are_chinese_and_english_ones_are_not(view: View) -> None:
    for key, text in load_catalogue("zh", view.part).items():
        assert re.search(r"[\u4e00-\u9fff，]", text), key
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", text), f"{key}: use full-width marks"
    for key, text in load_catalogue("en", view.part).items():
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), key


def test_each_key_in_use_exists_and_each_key_is_used(view: View) -> None:
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in view.scripts)
    used = set(re.findall(r"""\bt\(['"]([\w.]+\w)['"]\)""", view.template))
    used |= set(re.findall(r'data-i18n(?:-label)?="([\w.]+\w)"', view.template))
    used |= set(re.findall(r'"((?:compare|kiosk|list|card|drop|error)\.[\w.]*\w)"', scripts))
    used |= {f"sample.{name}" for name in SAMPLES} | {"compare.left", "compare.right"}
    known = load_catalogue("en") | load_catalogue("en", "compare") | load_catalogue("en", "kiosk")
    assert used <= known.keys()
    assert load_catalogue("en", view.part).keys() <= used


def test_page_holds_no_inline_script_or_style(client: FlaskClient, view: View) -> None:
    page = get(client, f"/{view.part}")
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", page, re.IGNORECASE)
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert "src=" in attributes
        assert not body.strip()


def test_no_script_builds_markup_from_strings(view: View) -> None:
    for path in view.scripts:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_each_reference_in_the_page_is_served_and_each_file_is_linked(
    client: FlaskClient, view: View
) -> None:
    linked = references(get(client, f"/{view.part}"))
    for reference in linked:
        assert get(client, reference)
    assert {address(path) for path in view.files} <= linked


def test_each_module_that_is_imported_is_preloaded_and_no_other(
    client: FlaskClient, view: View
) -> None:
    linked = {path for path in references(get(client, f"/{view.part}")) if path.endswith(".js")}
    found, waiting = set(), [STATIC / view.part / "main.js"]
    while waiting:
        path = waiting.pop()
        found.add(address(path))
        text = path.read_text("utf-8")
        for target in re.findall(r'^import .* from "([^"]+)"', text, re.MULTILINE):
            imported = Path(os.path.normpath(path.parent / target))
            if address(imported) not in found:
                waiting.append(imported)
    assert linked == found


def test_page_is_light(client: FlaskClient, view: View) -> None:
    for language in LANGUAGES:
        page = f"/{view.part}?lang={language}"
        texts = [f"/static/i18n/{part}{language}.json" for part in ("", f"{view.part}/")]
        paths = [page, *references(get(client, page)), *texts]
        answers = [client.get(path, headers={"Accept-Encoding": "gzip"}) for path in paths]
        assert {answer.headers["Content-Encoding"] for answer in answers} == {"gzip"}
        total = sum(len(answer.data) for answer in answers)
        assert total <= view.most, total
