"""The teaching page as the server gives it: languages, texts, weight, and nothing from outside."""

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sightbox.classifier import Classifier
from sightbox.graphs import ARCHITECTURES
from sightbox.graphs.stages import stages_of
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import load_assets
from sightbox.web.lesson import TEXTS
from sightbox.web.pages import CATALOGUES, LANGUAGES, SAMPLES, load_catalogue

PAGE = "/how-it-works"
STATIC = CATALOGUES.parent
FILES = STATIC / "lesson"
SCRIPTS = sorted(FILES.glob("*.js"))
TEMPLATE = STATIC.parent / "templates" / "how-it-works.html"

PAGE_BYTES = 36 * 1024
"""What the page may weigh, in one language, with all that it links and each file compressed."""


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return create_app(classifier, load_settings()).test_client()


def get(client: FlaskClient, path: str, accept: str = "") -> str:
    with client.get(path, headers={"Accept-Language": accept}) as response:
        assert response.status_code == 200, path
        return response.get_data(as_text=True)


def texts(language: str) -> dict[str, str]:
    """Returns all texts of the page: its own and those that it shares."""
    return load_catalogue(language) | load_catalogue(language, TEXTS)


def references(page: str) -> set[str]:
    """Returns the addresses of the files that the page links."""
    return set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))


def address_of(name: str) -> str:
    """Returns where a file of the page is served."""
    return f"/static/{load_assets().version}/{name}"


@pytest.mark.parametrize(
    ("path", "accept", "tag"),
    [(PAGE, "", "en"), (PAGE, "zh-CN,en;q=0.8", "zh-Hans"), (f"{PAGE}?lang=zh", "en", "zh-Hans")],
)
def test_language_follows_address_then_browser(
    client: FlaskClient, path: str, accept: str, tag: str
) -> None:
    page = get(client, path, accept)
    assert f'<html lang="{tag}"' in page
    assert texts("zh" if tag == "zh-Hans" else "en")["lesson.headline"] in page


def test_language_is_told_to_caches_and_readers(client: FlaskClient) -> None:
    response = client.get(f"{PAGE}?lang=zh")
    assert response.headers["Content-Language"] == "zh-Hans"
    assert "Accept-Language" in response.headers["Vary"]


def test_both_pages_link_each_other(client: FlaskClient) -> None:
    assert 'href="how-it-works"' in get(client, "/")
    assert 'href="./"' in get(client, PAGE)


def test_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, chinese = (load_catalogue(language, TEXTS) for language in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        wanted = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", chinese[key])) == wanted, key
    # A text of both pages stands in the first page's catalogue alone.
    assert not english.keys() & load_catalogue("en").keys()


def test_catalogues_spell_no_key_twice() -> None:
    for path in (CATALOGUES / TEXTS).glob("*.json"):
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), path.name


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    for key, text in load_catalogue("zh", TEXTS).items():
        assert re.search(r"[\u4e00-\u9fff：，]", text), key
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", text), f"{key}: use full-width marks"
    for key, text in load_catalogue("en", TEXTS).items():
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), key


def test_each_key_in_use_exists_and_each_key_is_used() -> None:
    template = TEMPLATE.read_text(encoding="utf-8")
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    used = set(re.findall(r"""\bt\(['"]([\w.]+\w)['"]\)""", template))
    used |= set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', template))
    used |= set(re.findall(r'"((?:lesson|step|drop|paste)\.[\w.]*\w)"', scripts))
    used |= {f"sample.{name}" for name in SAMPLES}
    used |= {f"lesson.{column}" for column in ("class", "logit", "power", "share")}
    used |= {f"lesson.{kind}.chart" for kind in ("features", "logits")}
    used |= {f"lesson.photo.{one}" for one in ("decoded", "stored", "turned", "resized")}
    used |= {"lesson.photo.cut", "lesson.photo.crop"}
    kinds = {stage.kind for name in ARCHITECTURES for stage in stages_of(name)}
    for kind in {"bytes", "decode", "turn", "resize", "crop", "softmax", *kinds}:
        used |= {f"step.{kind}.name"} | ({f"step.{kind}.text"} if kind != "stage" else set())
    used |= {"step.turn.turned", "step.crop.whole", "step.softmax.scaled"}
    assert used <= texts("en").keys()
    assert load_catalogue("en", TEXTS).keys() <= used


def test_each_step_is_told_in_two_sentences() -> None:
    for language, end in (("en", r"[.?](?= |$)"), ("zh", "。")):
        for key, text in load_catalogue(language, TEXTS).items():
            if key.startswith("step.") and not key.endswith(".name"):
                assert len(re.findall(end, text)) == 2, f"{language} {key}"


def test_page_holds_no_inline_script_or_style(client: FlaskClient) -> None:
    page = get(client, PAGE)
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", page, re.IGNORECASE)
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert "src=" in attributes
        assert not body.strip()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_builds_no_markup_from_strings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_each_reference_in_the_page_is_served_and_each_file_is_linked(client: FlaskClient) -> None:
    linked = references(get(client, PAGE))
    for reference in linked:
        assert get(client, reference)
    own = {address_of(f"lesson/{path.name}") for path in FILES.iterdir()}
    assert own <= linked


def test_each_module_that_a_script_imports_is_preloaded(client: FlaskClient) -> None:
    linked = references(get(client, PAGE))
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r'^import .* from "([^"]+)"', text, re.MULTILINE):
            file = (path.parent / target).resolve().relative_to(STATIC.resolve())
            assert address_of(file.as_posix()) in linked, target


def test_page_is_light(client: FlaskClient) -> None:
    for language in LANGUAGES:
        page = get(client, f"{PAGE}?lang={language}")
        files = [*references(page), f"/static/i18n/{language}.json"]
        files.append(f"/static/i18n/lesson/{language}.json")
        paths = [f"{PAGE}?lang={language}", *files]
        answers = [client.get(path, headers={"Accept-Encoding": "gzip"}) for path in paths]
        total = sum(len(answer.data) for answer in answers)
        assert total <= PAGE_BYTES, total
