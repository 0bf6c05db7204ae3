"""The page at ``/docs``: whole in both languages, true to the document, nothing from outside."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.pages import LANGUAGES, load_catalogue
from sightbox.web.reference import TEXTS, sentences_in

TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


@pytest.fixture
def client(dummy: Classifier) -> FlaskClient:
    return create_app(dummy, load_settings()).test_client()


def page_text(client: FlaskClient, path: str, **headers: str) -> str:
    with client.get(path, headers=headers) as response:
        assert response.status_code == 200
        return unescape(response.get_data(as_text=True))


def sentences_of(document: dict[str, Any]) -> Iterator[str]:
    """Yields each sentence of a document that the page shows."""
    for tag in document["tags"]:
        yield from tag.values()
    for methods in document["paths"].values():
        for operation in methods.values():
            yield operation["summary"]
            yield from (parameter["description"] for parameter in operation["parameters"])
    yield from (problem["title"] for problem in document["x-problems"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_shows_each_route_parameter_sample_and_error(
    client: FlaskClient, language: str
) -> None:
    document = client.get("/openapi.json").get_json()
    page = page_text(client, f"/docs?lang={language}")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f'<span class="method">{method.upper()}</span> {path}<' in page
            for parameter in operation["parameters"]:
                assert f"<code>{parameter['name']}</code>" in page
            for sample in operation["x-codeSamples"]:
                assert sample["source"].replace("127.0.0.1:8018", "localhost") in page
    for problem in document["x-problems"]:
        assert f"<code>{problem['code']}</code>" in page
    assert f'<html lang="{LANGUAGES[language]}"' in page
    assert load_catalogue(language, TEXTS)["lead"] in page


def test_each_sentence_has_its_chinese_and_each_chinese_one_is_used(dummy: Classifier) -> None:
    app = create_app(dummy, load_settings(token=TOKEN))
    used = set(sentences_of(app.test_client().get("/openapi.json").get_json()))
    known = load_catalogue("sentences.zh", TEXTS)
    assert used - set(known) == set(), "add them to static/i18n/reference/sentences.zh.json"
    assert set(known) - used == set()
    for sentence, chinese in known.items():
        assert re.search(r"[\u4e00-\u9fff]", chinese), sentence
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", chinese), sentence
        assert sentence.count("`") == chinese.count("`"), sentence


def test_sentence_without_chinese_stays_and_is_marked_and_nothing_in_it_is_markup() -> None:
    assert sentences_in("zh")("A <new> one.") == '<span lang="en">A &lt;new&gt; one.</span>'
    assert sentences_in("en")("The ``<x>`` of it.") == "The <code>&lt;x&gt;</code> of it."


def test_texts_of_the_page_have_the_same_keys_and_all_are_used(client: FlaskClient) -> None:
    english, chinese = (load_catalogue(language, TEXTS) for language in LANGUAGES)
    assert list(english) == list(chinese)
    for language, texts in zip(LANGUAGES, (english, chinese), strict=True):
        page = page_text(client, f"/docs?lang={language}")
        for key, text in texts.items():
            assert text in page, key
    for text in chinese.values():
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", text)


def test_language_follows_address_then_browser_and_is_told_to_caches(client: FlaskClient) -> None:
    chinese, english = (load_catalogue(language, TEXTS)["heading"] for language in ("zh", "en"))
    assert f"<h1>{chinese}</h1>" in page_text(client, "/docs", **{"Accept-Language": "zh-CN"})
    asked = page_text(client, "/docs?lang=en", **{"Accept-Language": "zh-CN"})
    assert f"<h1>{english}</h1>" in asked
    response = client.get("/docs?lang=zh")
    assert response.headers["Content-Language"] == "zh-Hans"
    assert "Accept-Language" in response.headers["Vary"]


def test_samples_name_the_address_of_the_page_and_it_is_escaped(dummy: Classifier) -> None:
    app = create_app(dummy, load_settings(allowed_hosts=("box.local",)))
    text = page_text(app.test_client(), "/docs", Host="box.local:9000")
    assert "@cat.jpg http://box.local:9000/v1/classify" in text
    assert "8018" not in text


def test_defaults_on_the_page_are_the_settings(dummy: Classifier) -> None:
    client = create_app(dummy, load_settings(top_k=17)).test_client()
    page = page_text(client, "/docs")
    assert "<code>17</code>" in page
    explain = page.partition("<code>explain</code>")[2].partition("</tr>")[0]
    assert re.findall(r"<code>(\w+)</code>", explain) == ["true", "false", "false"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_description_needs_no_token_but_a_host_of_ours(dummy: Classifier, path: str) -> None:
    client = create_app(dummy, load_settings(token=TOKEN)).test_client()
    with client.get(path) as response:
        assert response.status_code == 200
        assert TOKEN not in response.get_data(as_text=True)
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 403


def test_page_holds_no_script_and_no_style_of_its_own(client: FlaskClient) -> None:
    page = page_text(client, "/docs")
    assert not re.search(r"<script|<style|\sstyle\s*=|\son\w+\s*=|javascript:", page, re.IGNORECASE)
    for reference in re.findall(r'(?:href|src)="([^"#]+)"', page):
        assert reference.startswith(("/", "?lang="))
        assert not reference.startswith("//")
