"""The OpenAPI document where several models are here, and where answers are explained."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema_rs
import pytest

from description import Json, check_answer
from serving import FORM, ask, assert_problem, form, running, serving
from shelf import put_models
from sightbox.classifier import Classifier
from sightbox.model import CARD
from sightbox.opening import open_classifier
from sightbox.residents import Residents
from sightbox.settings import load_settings
from sightbox.web.app import create_app

CLASSIFY, INFER = "/v1/classify", "/v2/models/{name}/infer"
RAW = {"Inference-Header-Content-Length": "0"}


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Residents]]:
    """A server with five models of a megabyte each, and room for two; `west` is damaged."""
    put_models(tmp_path)
    (tmp_path / "models" / "west" / CARD).write_text("{}")
    monkeypatch.setattr("sightbox.machine.resident_bytes", lambda: 0)
    settings = load_settings(port=0, home=tmp_path, backend="dummy", model="first", max_models_mb=2)
    with (
        open_classifier(settings) as classifier,
        Residents(classifier, settings) as residents,
        running(create_app(classifier, settings, residents), settings) as server,
    ):
        yield server.url, residents


def document_of(url: str) -> Json:
    """Returns the document of a server."""
    found: Json = ask(url, "/openapi.json")[2]
    return found


def test_answers_of_several_models_are_as_described(
    several: tuple[str, Residents], cat: bytes
) -> None:
    url, _ = several
    document = document_of(url)
    for query, status in (
        ("model=north&variant=bf16", 200),
        ("variant=fp32", 200),
        ("model=up", 404),
        ("variant=int8", 404),
        ("model=west", 500),
    ):
        answer = ask(url, f"{CLASSIFY}?{query}", cat)
        assert answer[0] == status
        check_answer(document, "post", CLASSIFY, answer)
    for path, asked, status in (
        ("/v1/models", "/v1/models", 200),
        ("/v1/models/{name}", "/v1/models/north", 200),
        ("/v1/models/{name}", "/v1/models/west", 500),
        ("/v1/labels", "/v1/labels?model=east", 200),
        ("/v1/labels", "/v1/labels?model=up", 404),
        ("/v1/labels", "/v1/labels?model=west", 500),
        ("/v2/models", "/v2/models", 200),
        ("/v2/models/stats", "/v2/models/stats", 200),
        ("/v2/models/{name}", "/v2/models/west", 500),
        ("/v2/models/{name}/config", "/v2/models/west/config", 500),
        ("/v2/models/{name}/ready", "/v2/models/north/ready", 200),
        ("/v2/models/{name}/ready", "/v2/models/west/ready", 500),
    ):
        answer = ask(url, asked)
        assert answer[0] == status, asked
        check_answer(document, "get", path, answer)
    index = ask(url, "/v2/repository/index", b"")
    assert "UNAVAILABLE" in str(index[2])
    check_answer(document, "post", "/v2/repository/index", index)


def test_refusals_for_want_of_memory_are_as_described(
    several: tuple[str, Residents], cat: bytes, home: Path
) -> None:
    url, residents = several
    document = document_of(url)
    with residents.using("north"):
        for path, asked, headers in (
            (CLASSIFY, f"{CLASSIFY}?model=south", {}),
            (INFER, "/v2/models/south_image/infer", RAW),
        ):
            answer = ask(url, asked, cat, headers)
            assert answer[0] == 503
            check_answer(document, "post", path, answer)
    with (
        Classifier(backend="dummy", home=home) as classifier,
        serving(classifier, home=residents.store.home, max_models_mb=0) as small,
    ):
        for method, path, asked, body in (
            ("post", CLASSIFY, f"{CLASSIFY}?model=south", cat),
            ("post", INFER, "/v2/models/south/infer", b"{}"),
            ("get", "/v2/models/{name}/ready", "/v2/models/south/ready", None),
        ):
            answer = ask(small, asked, body)
            assert answer[0] == 507
            check_answer(document, method, path, answer)


def test_answers_about_damaged_labels_are_as_described(
    classifier: Classifier, home: Path, tmp_path: Path, cat: bytes
) -> None:
    shutil.copytree(home / "models", tmp_path / "models")
    own = tmp_path / "labels" / str(classifier.card.labels)
    own.mkdir(parents=True)
    (own / "fr.json").write_text("[]")
    with Classifier(backend="dummy", home=home) as dummy, serving(dummy, home=tmp_path) as url:
        document = document_of(url)
        answer = ask(url, "/v1/labels")
        assert_problem(answer, 500, "bad_labels")
        check_answer(document, "get", "/v1/labels", answer)
        answer = ask(url, f"{CLASSIFY}?variant=bf16", cat)
        assert_problem(answer, 500, "bad_labels")
        check_answer(document, "post", CLASSIFY, answer)


def test_explanations_are_as_described(classifier: Classifier, cat: bytes) -> None:
    with serving(classifier) as url:
        document = document_of(url)
        one = ask(url, f"{CLASSIFY}?explain=true&top_k=2", cat)
        many = ask(url, f"{CLASSIFY}?explain=true&top_k=1", form(cat, b"junk"), FORM)
    assert len(one[2]["explanation"]["maps"]) == 2
    for answer in (one, many):
        check_answer(document, "post", CLASSIFY, answer)
    one[2]["explanation"]["region"]["more"] = 1
    with pytest.raises(jsonschema_rs.ValidationError):
        check_answer(document, "post", CLASSIFY, one)
