"""The page as the server gives it: language, catalogues, and nothing from outside."""

import json
import re
from itertools import product
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import sightbox
from sightbox import errors
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import load_assets
from sightbox.web.guard import ForbiddenError, UnauthorizedError
from sightbox.web.pages import CATALOGUES, LANGUAGES, SAMPLES, load_catalogue, make_translator
from sightbox.web.receiving import BusyError

STATIC = CATALOGUES.parent
SCRIPTS = sorted(STATIC.glob("js/*.js"))
SHEETS = sorted(STATIC.glob("css/*.css"))
TEMPLATES = [
    STATIC.parent / "templates" / name
    for name in (
        "base.html",
        "index.html",
        "languages.html",
        "offline.html",
        "plain.html",
        "unlock.html",
    )
]

KEY_GROUPS = (
    "camera", "card", "code", "copy", "drop", "list", "more", "paste", "sample", "say", "set",
    "time", "token", "verdict", "where", "why",
)  # fmt: skip
"""How the keys begin that scripts name."""

# What the first page may weigh compressed, in bytes: a page at once on a slow link.
FIRST_PAGE_BYTES = 60 * 1024


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return create_app(classifier, load_settings()).test_client()


def page_text(client: FlaskClient, path: str = "/", accept: str = "") -> str:
    with client.get(path, headers={"Accept-Language": accept}) as response:
        assert response.status_code == 200, path
        return response.get_data(as_text=True)


def keys_in_use() -> set[str]:
    """Returns each text key that the template or a script names, literally or by its pattern."""
    template = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    found = set(re.findall(r"""\bt\(['"]([\w.]+)['"]\)""", template))
    found |= set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', template))
    found |= set(re.findall(rf'"((?:{"|".join(KEY_GROUPS)})\.\w+)"', scripts))
    found |= {f"time.{stage}" for stage in ("decode", "preprocess", "queue", "infer")}
    found |= {f"set.{way}" for way in ("exact", "fast", "nearest")}
    found |= {f"sample.{name}" for name in SAMPLES}
    rows, columns = ("upper", "middle", "lower"), ("left", "centre", "right")
    return found | {f"where.{row}_{column}" for row, column in product(rows, columns)}


def error_codes() -> set[str]:
    """Returns the codes that the page has words for."""
    return {key.split(".")[1] for key in load_catalogue("en") if key.startswith("error.")}


@pytest.mark.parametrize(
    ("path", "accept", "tag"),
    [
        ("/", "", "en"),
        ("/", "en-GB,en;q=0.9", "en"),
        ("/", "zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("/", "zh-CN,en;q=0.8", "zh-Hans"),
        ("/", "ZH", "zh-Hans"),
        ("/", "en-US,en;q=0.9,zh;q=0.8", "en"),
        ("/", "fr,zh;q=0.5", "zh-Hans"),
        ("/", "zh;q=0,fr", "en"),
        ("/", "de,*;q=0.5", "en"),
        ("/?lang=zh", "en", "zh-Hans"),
        ("/?lang=en", "zh-CN", "en"),
        ("/?lang=xx", "zh-CN", "zh-Hans"),
        ("/?lang=", "", "en"),
    ],
)
def test_language_follows_address_then_browser(
    client: FlaskClient, path: str, accept: str, tag: str
) -> None:
    assert f'<html lang="{tag}"' in page_text(client, path, accept)


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_is_written_in_its_language(client: FlaskClient, language: str) -> None:
    texts = load_catalogue(language)
    page = page_text(client, f"/?lang={language}")
    for key in ("page.title", "hero.title", "drop.title", "list.clear", "set.title"):
        assert texts[key] in page
    other = load_catalogue("en" if language == "zh" else "zh")
    assert other["hero.title"] not in page
    assert re.search(rf'data-language="{language}" aria-current="true"', page)


def test_language_is_told_to_caches_and_readers(client: FlaskClient) -> None:
    response = client.get("/?lang=zh")
    assert response.headers["Content-Language"] == "zh-Hans"
    assert "Accept-Language" in response.headers["Vary"]
    assert "no-cache" in response.headers["Cache-Control"]


def test_limit_and_version_stand_in_the_page(classifier: Classifier) -> None:
    page = page_text(create_app(classifier, load_settings(max_body_mb=7)).test_client())
    assert 'data-max-body-mb="7.0"' in page
    assert "up to 7 MB" in page
    assert f"Sightbox {sightbox.__version__}" in page


def test_no_placeholder_is_left_in_the_page(client: FlaskClient) -> None:
    for language in LANGUAGES:
        assert not re.search(r"\{\w*\}", page_text(client, f"/?lang={language}"))


def test_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, chinese = load_catalogue("en"), load_catalogue("zh")
    assert list(english) == list(chinese)
    for key, text in english.items():
        placeholders = set(re.findall(r"\{\w+\}", text))
        # The singular spells its number, so it alone may do without one.
        assert set(re.findall(r"\{\w+\}", chinese[key])) == placeholders, key


def test_catalogues_spell_no_key_twice() -> None:
    for path in CATALOGUES.glob("*.json"):
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), path.name


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    for key, text in load_catalogue("zh").items():
        assert re.search(r"[\u4e00-\u9fff：]", text), key
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", text), f"{key}: use full-width marks"
    for key, text in load_catalogue("en").items():
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), key


def test_each_key_in_use_exists_and_each_key_is_used() -> None:
    # The errors have tests of their own.
    texts, used = (
        {key for key in keys if not key.startswith("error.")}
        for keys in (load_catalogue("en"), keys_in_use())
    )
    assert used == texts


def test_each_error_has_a_title_and_a_way_on() -> None:
    texts = load_catalogue("en")
    for code in error_codes():
        assert {f"error.{code}", f"error.{code}.hint"} <= set(texts)


def test_each_error_that_a_picture_can_meet_has_words() -> None:
    met = [
        errors.ImageError,
        errors.ImageFormatError,
        errors.ImageTooLargeError,
        errors.DecodeTimeError,
        errors.DecodeMemoryError,
        errors.DecoderCrashError,
        errors.BodyTooLargeError,
        errors.QueueFullError,
        errors.DeadlineError,
        errors.ClosedError,
        errors.BackendError,
        ForbiddenError,
        UnauthorizedError,
        BusyError,
        errors.ModelError,
        errors.ModelNotFoundError,
        errors.ModelTooLargeError,
        errors.ModelsBusyError,
        errors.RequestError,
    ]
    assert {error.code for error in met} <= error_codes()
    # The page's own: no answer, a file the browser cannot read, and what it has no words for.
    assert error_codes() - {error.code for error in met} == {
        "network",
        "unreadable_file",
        "unknown",
    }


def test_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"no\.such"):
        make_translator("en")("no.such")


def served_texts(client: FlaskClient) -> dict[str, str]:
    """Returns each text that a browser gets, by its address."""
    paths = [f"/?lang={language}" for language in LANGUAGES]
    files = [path for path in STATIC.rglob("*") if path.is_file() and path.suffix != ".png"]
    paths += [f"/static/{path.relative_to(STATIC).as_posix()}" for path in files]
    return {path: page_text(client, path) for path in paths}


def test_nothing_served_points_outside(client: FlaskClient) -> None:
    texts = served_texts(client)
    assert len(texts) >= 14
    for path, text in texts.items():
        inside = re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[\w/]+"', "", text)
        assert not re.search(r"https?:", inside, re.IGNORECASE), path
        assert not re.search(r"""["'(=,]\s*//""", inside), path
        assert not re.search(r"@import|@font-face", inside), path


@pytest.mark.parametrize(
    "text", ["<img src=//x.y>", 'url("//x.y")', "fetch('//x.y')", 'href="HTTPS://x.y"']
)
def test_the_search_for_outside_references_finds_one(text: str) -> None:
    assert re.search(r"https?:", text, re.IGNORECASE) or re.search(r"""["'(=,]\s*//""", text)


def test_page_holds_no_inline_script_or_style(client: FlaskClient) -> None:
    page = page_text(client)
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", page, re.IGNORECASE)
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert "src=" in attributes
        assert not body.strip()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_builds_no_markup_from_strings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_each_reference_in_the_page_is_served(client: FlaskClient) -> None:
    page = page_text(client)
    references = set(re.findall(r'(?:href|src)="(/[^"]+)"', page))
    assert len(references) >= 10
    for reference in references:
        assert page_text(client, reference)


def test_each_script_is_preloaded_and_each_sheet_is_linked(client: FlaskClient) -> None:
    page = page_text(client)
    for path in SCRIPTS + SHEETS:
        name = path.relative_to(STATIC).as_posix()
        assert f'="/static/{load_assets().version}/{name}"' in page, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_first_page_is_light(client: FlaskClient, language: str) -> None:
    page = f"/?lang={language}"
    paths = {page, f"/static/i18n/{language}.json"}
    paths |= set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page_text(client, page)))
    answers = [client.get(path, headers={"Accept-Encoding": "gzip"}) for path in paths]
    assert len(answers) >= 40
    assert {answer.headers.get("Content-Encoding") for answer in answers} == {"gzip"}
    assert sum(len(answer.data) for answer in answers) <= FIRST_PAGE_BYTES


def theme_colours(dark: bool) -> dict[str, str]:
    """Returns the colours of a theme, name -> ``#rrggbb``; the dark theme overrides the light."""
    light, _, rest = (STATIC / "css/theme.css").read_text(encoding="utf-8").partition("@media")
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", light))
    if dark:
        colours |= dict(re.findall(r"--([\w-]+): (#\w+);", rest))
    return colours


def luminance(colour: str) -> float:
    """Returns the relative luminance, 0 to 1, of ``#rgb`` or ``#rrggbb`` (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_every_ground(dark: bool) -> None:
    colours = theme_colours(dark)
    texts = ("ink", "ink-soft", "accent", "alarm")
    grounds = ("ground", "surface", "mat", "track", "accent-wash")
    for text, ground in product(texts, grounds):
        low, high = sorted((luminance(colours[text]), luminance(colours[ground])))
        # 4.5 is WCAG 2.2's least contrast for text, level AA.
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"
