"""The files of the view that changes a picture: its texts, its elements and their weight."""

import gzip
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.pages import CATALOGUES, LANGUAGES, load_catalogue

PART = "whatif"
FILES = CATALOGUES.parent / PART
SCRIPTS = sorted(FILES.glob("*.js"))

VIEW_BYTES = 24 * 1024
"""What is fetched for the view, in one language, with each file compressed."""


@pytest.fixture
def client(classifier: Classifier) -> FlaskClient:
    return create_app(classifier, load_settings()).test_client()


def get(client: FlaskClient, path: str) -> str:
    with client.get(path) as response:
        assert response.status_code == 200, path
        return response.get_data(as_text=True)


def test_first_page_names_none_of_the_files(client: FlaskClient) -> None:
    page = get(client, "/")
    assert 'class="button what-if"' in page
    assert f"/{PART}/" not in page


def test_view_is_light(client: FlaskClient) -> None:
    paths = [f"/static/{PART}/{path.name}" for path in FILES.iterdir()]
    assert len(paths) > 10
    for language in LANGUAGES:
        texts = f"/static/i18n/{PART}/{language}.json"
        files = [get(client, path).encode() for path in (*paths, texts)]
        assert sum(len(gzip.compress(file)) for file in files) <= VIEW_BYTES


def test_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, chinese = load_catalogue("en", PART), load_catalogue("zh", PART)
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", chinese[key])) == set(re.findall(r"\{\w+\}", text)), key


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    for key, text in load_catalogue("zh", PART).items():
        assert re.search(r"[\u4e00-\u9fff]", text), key
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", text), f"{key}: use full-width marks"
    for key, text in load_catalogue("en", PART).items():
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), key


def test_each_key_in_use_exists_and_each_key_is_used() -> None:
    elements = (FILES / "dialog.html").read_text(encoding="utf-8")
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    used = set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', elements))
    used |= set(re.findall(r'"((?:whatif|card)\.\w+)"', scripts))
    for language in LANGUAGES:
        own = load_catalogue(language, PART)
        assert used <= (load_catalogue(language) | own).keys()
        assert own.keys() <= used


def test_elements_hold_no_script_no_style_and_no_text_of_one_language() -> None:
    elements = (FILES / "dialog.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|<style|\sstyle\s*=|\son\w+\s*=", elements)
    body = elements.partition("</title>")[2]
    assert re.findall(r">\s*([^<>\s][^<>]*)<", body) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_builds_no_markup_from_strings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
