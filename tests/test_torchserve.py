"""TorchServe's inference API: its answers, and its words for every error."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import FORM, Answer, ask, form, part, say, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend, expected_class
from sightbox.classifier import Classifier
from sightbox.errors import BackendError

MODEL = "efficientnet-lite0"
PATH = f"/predictions/{MODEL}"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[tuple[str, Classifier]]:
    """The dummy backend, served for all tests of this module."""
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made, home=home) as url:
        yield url, made


@pytest.fixture(scope="module")
def url(served: tuple[str, Classifier]) -> str:
    """The address of the dummy backend."""
    return served[0]


def assert_error(answer: Answer, status: int, kind: str, told: str) -> None:
    """Checks that an answer is an error as TorchServe spells it."""
    found, headers, body = answer
    assert (found, headers["Content-Type"]) == (status, "application/json"), body
    assert list(body) == ["code", "type", "message"]
    assert (body["code"], body["type"]) == (status, kind)
    assert told in body["message"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_real_model_answers_as_the_native_api_does(classifier: Classifier, cat: bytes) -> None:
    with serving(classifier) as url:
        native = ask(url, "/v1/classify", cat)[2]["predictions"]
        status, headers, body = ask(url, PATH, cat)
        chinese = ask(url, f"{PATH}?lang=zh", cat)[2]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert list(body.items()) == [(one["label"]["en"], one["score"]) for one in native]
    assert list(body.values()) == sorted(body.values(), reverse=True)
    assert list(chinese) == [one["label"]["zh"] for one in native]
    assert len(body) == 5


@pytest.mark.parametrize("version", ["", "/1", "/1.0"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_picture_comes_as_the_body(
    served: tuple[str, Classifier], cat: bytes, method: str, version: str
) -> None:
    url, classifier = served
    expected = expected_class(classifier.prepare(cat).pixels[None], 1000)[0]
    body = ask(url, PATH + version, cat, method=method)[2]
    assert next(iter(body)) == classifier.labels.names["en"][expected]


@pytest.mark.parametrize("name", ["data", "body"])
def test_picture_comes_in_a_form(url: str, cat: bytes, name: str) -> None:
    assert ask(url, PATH, form(cat, name=name), FORM)[2] == ask(url, PATH, cat)[2]


def test_picture_may_be_compressed(url: str, cat: bytes) -> None:
    packed = ask(url, PATH, gzip.compress(cat), {"Content-Encoding": "gzip"})
    assert packed[2] == ask(url, PATH, cat)[2]


def test_settings_say_how_many_classes(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, top_k=2, min_score=0) as url:
        assert len(ask(url, PATH, cat)[2]) == 2
    with serving(dummy, min_score=0.5) as url:
        assert len(ask(url, PATH, cat)[2]) == 1


def test_ping_tells_that_the_engine_answers(url: str) -> None:
    assert ask(url, "/ping")[2] == {"status": "Healthy"}


def test_ping_tells_that_the_engine_does_not_answer(home: Path) -> None:
    first = iter([True])

    def fail(_batch: Pixels) -> None:
        if not next(first, False):
            raise BackendError("Out of order.")

    with Classifier(backend=DummyBackend(fail), home=home) as made, serving(made) as url:
        status, _, body = ask(url, "/ping")
    assert (status, body) == (500, {"status": "Unhealthy"})


def test_failing_engine_is_an_error_of_the_server(home: Path, cat: bytes) -> None:
    first = iter([True])

    def fail(_batch: Pixels) -> None:
        if not next(first, False):
            raise BackendError("Out of order.")

    with Classifier(backend=DummyBackend(fail), home=home) as made, serving(made) as url:
        assert_error(ask(url, PATH, cat), 500, "InternalServerException", "Out of order.")


@pytest.mark.parametrize(
    ("path", "kind", "told"),
    [
        ("/predictions/nope", "ModelNotFoundException", "'nope'"),
        ("/predictions/%2e%2e", "ModelNotFoundException", "'..'"),
        (f"{PATH}/2", "ModelVersionNotFoundException", "no version '2'. There is 1.0."),
        (f"{PATH}/{'x' * 1000}", "ModelVersionNotFoundException", "There is 1.0."),
        ("/predictions", "ResourceNotFoundException", "not found"),
        ("/predictions/", "ResourceNotFoundException", "not found"),
        (f"{PATH}/1/2", "ResourceNotFoundException", "not found"),
        ("/ping/x", "ResourceNotFoundException", "not found"),
    ],
)
def test_unknown_place_is_not_found(url: str, cat: bytes, path: str, kind: str, told: str) -> None:
    assert_error(ask(url, path, cat), 404, kind, told)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "empty"),
        (b"hello", 415, "accepted are"),
        (b"\x89PNG\r\n\x1a\n", 400, ""),
    ],
)
def test_bad_picture_is_a_bad_request(url: str, body: bytes, status: int, told: str) -> None:
    assert_error(ask(url, PATH, body), status, "BadRequestException", told)
    assert_error(ask(url, PATH, form(body, name="data"), FORM), status, "BadRequestException", told)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (form(b"x", b"x", name="data"), 400, "has 2 pictures, and this model takes one"),
        (form(b"x"), 400, "no part named data. Send: -F data=@photo.jpg"),
        (part(b"x", "data", "") + form(), 400, "A part named data is a text and no file"),
        (form(b"x", name="data")[:-9], 400, "cut short"),
        (form(*[b"x"] * 257, name="data"), 413, "more than 256 parts"),
    ],
)
def test_bad_form_is_a_bad_request(url: str, body: bytes, status: int, told: str) -> None:
    assert_error(ask(url, PATH, body, FORM), status, "BadRequestException", told)


def test_body_limit_is_kept_inflated_too(dummy: Classifier) -> None:
    with serving(dummy, max_body_mb=0.1, max_inflated_mb=0.1) as url:
        fits = ask(url, PATH, bytes(100_000))
        too_large = ask(url, PATH, bytes(100_001))
        bomb = ask(url, PATH, gzip.compress(bytes(100_001)), {"Content-Encoding": "gzip"})
    assert fits[0] == 415
    for answer in (too_large, bomb):
        assert_error(answer, 413, "BadRequestException", "larger than 0.1 MB")


def test_wait_that_is_too_long_is_a_timeout(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, max_wait=1e-9) as url:
        assert_error(ask(url, PATH, cat), 504, "RequestTimeoutException", "")


def test_server_that_takes_no_more_work_is_unavailable(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy) as url:
        dummy.close()
        answer = ask(url, PATH, cat)
    assert_error(answer, 503, "ServiceUnavailableException", "closed")
    assert answer[1]["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (f"GET {PATH} HTTP/1.1\r\n", 405, "MethodNotAllowedException"),
        ("POST /ping HTTP/1.1\r\n", 405, "MethodNotAllowedException"),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: 99000000\r\n", 413, "BadRequestException"),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: x\r\n", 400, "BadRequestException"),
        (f"POST {PATH} HTTP/1.1\r\nOrigin: http://e.example\r\n", 403, "IllegalArgumentException"),
        ("GET /ping HTTP/1.1\r\nOrigin: http://e.example\r\n", 403, "IllegalArgumentException"),
    ],
)
def test_refusal_of_framework_server_or_guard_is_one_of_its_errors(
    url: str, head: str, status: int, kind: str
) -> None:
    assert_error(say(url, head.encode(), b"Host: localhost\r\n\r\n"), status, kind, ".")


def test_token_is_needed_but_for_the_ping(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, token=TOKEN) as url:
        assert ask(url, "/ping")[0] == 200
        assert_error(ask(url, PATH, cat), 401, "InvalidKeyException", "wants a token")
        assert ask(url, PATH, cat, {"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_bug_is_told_without_its_trace(
    dummy: Classifier, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("sightbox.web.dialects.torchserve.names_in", fail)
    with serving(dummy) as url:
        answer = ask(url, PATH, cat)
    assert_error(answer, 500, "InternalServerException", "an error of its own")
    assert "secret" not in json.dumps(answer[2])
