"""PhotoPrism's vision service: its answers, and its words for every error."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import FORM, Answer, ask, form, say, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.prediction import softmax

MODEL = "efficientnet-lite0"
PATH = "/api/v1/vision/labels"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


def data_url(picture: bytes) -> str:
    """Returns a picture as PhotoPrism sends it."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def photo(*pictures: bytes, **more: object) -> dict[str, Any]:
    """Returns a request with pictures, as PhotoPrism's `ApiRequest` is written."""
    images = [data_url(picture) for picture in pictures]
    return {"id": "an-id", "suffix": "", "stream": False, "images": images} | more


def send(url: str, message: object, path: str = PATH) -> Answer:
    """Sends JSON."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return ask(url, path, body, {"Content-Type": "application/json"})


def assert_error(answer: Answer, status: int, told: str, identity: str | None = None) -> None:
    """Checks that an answer is an error as PhotoPrism's `ApiResponse` spells it."""
    found, headers, body = answer
    assert (found, headers["Content-Type"]) == (status, "application/json"), body
    assert body.get("id") == identity
    assert (body["code"], body["result"]) == (status, {})
    assert set(body) <= {"id", "code", "error", "result"}
    assert told in body["error"], body
    assert len(body["error"]) < 500


def test_real_model_answers_as_the_native_api_does(classifier: Classifier, cat: bytes) -> None:
    with serving(classifier) as url:
        native = ask(url, "/v1/classify", cat)[2]["predictions"]
        status, headers, body = send(url, photo(cat))
        chinese = send(url, photo(cat), f"{PATH}?lang=zh")[2]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    labels = body["result"].pop("labels")
    about = {"type": "labels", "name": MODEL, "version": "latest", "resolution": 224}
    assert body == {"id": "an-id", "code": 200, "model": about, "result": {}}
    assert [label["name"] for label in labels] == [one["label"]["en"] for one in native]
    for label, expected in zip(labels, native, strict=True):
        assert label["confidence"] == label["topicality"]
        assert label["confidence"] == pytest.approx(expected["score"], abs=2e-6)
        assert (label["source"], label["categories"]) == ("image", [])
        assert len(label) == 5
    names = [label["name"] for label in chinese["result"]["labels"]]
    assert names == [one["label"]["zh"] for one in native]


def test_views_of_a_photo_share_one_list_of_the_largest_scores(
    classifier: Classifier, photos: Path, cat: bytes
) -> None:
    files = [cat, (photos / "coffee.png").read_bytes()]
    pixels = np.stack([classifier.prepare(file).pixels for file in files])
    logits = np.stack([answer.logits for answer in classifier.infer(pixels)])
    expected = softmax(logits).max(axis=0)
    with serving(classifier, top_k=3) as url:
        labels = send(url, photo(*files))[2]["result"]["labels"]
    names = classifier.labels.names["en"]
    best = np.argsort(-expected)[:3]
    assert [label["name"] for label in labels] == [names[index] for index in best]
    assert [label["confidence"] for label in labels] == pytest.approx(expected[best], abs=1e-6)


def test_pictures_of_one_request_form_batches(home: Path, cat: bytes) -> None:
    batches: list[int] = []
    with (
        Classifier(
            backend=DummyBackend(lambda batch: batches.append(len(batch))), home=home, max_batch=4
        ) as made,
        serving(made) as url,
    ):
        batches.clear()
        assert send(url, photo(*[cat] * 8))[0] == 200
    assert batches == [4, 4]


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"model": ""},
        {"model": MODEL},
        {"model": f"{MODEL}:latest", "version": "latest"},
        {"model": MODEL, "version": "1"},
    ],
)
def test_model_may_be_named_as_photoprism_does(url: str, cat: bytes, named: dict[str, str]) -> None:
    assert send(url, photo(cat, **named))[2]["model"]["name"] == MODEL


def test_request_without_an_id_gets_one(url: str, cat: bytes) -> None:
    message = photo(cat)
    del message["id"]
    found = {send(url, message)[2]["id"] for _ in range(2)}
    assert len(found) == 2
    assert all(len(identity) == 36 for identity in found)


def test_least_score_of_the_settings_is_kept(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, min_score=0.5) as url:
        assert len(send(url, photo(cat))[2]["result"]["labels"]) == 1
    with serving(dummy, min_score=1) as url:
        assert send(url, photo(cat))[2]["result"] == {"labels": []}


@pytest.mark.parametrize(
    ("message", "status", "told"),
    [
        ({}, 400, "images is missing, or no list"),
        ({"images": "x"}, 400, "images is missing, or no list"),
        ({"images": []}, 400, "has no picture"),
        ({"images": [3]}, 400, "Image 0 is missing, or no text"),
        ({"images": [[]]}, 400, "Image 0 is missing, or no text"),
        ({"images": ["aGk="]}, 400, "Image 0 is no data: URL"),
        ({"images": ["data:image/jpeg,x"]}, 400, "Image 0 is a data: URL without base64"),
        ({"images": ["data:image/jpeg;base64,*"]}, 400, "Image 0 is no base64"),
        ({"images": [data_url(b"junk")]}, 415, "Image 0: "),
        ({"images": ["data:;base64,"]}, 400, "Image 0: "),
        ({"images": ["x"], "model": 3}, 400, "model is missing, or no text"),
        ({"images": ["x"], "version": []}, 400, "version is missing, or no text"),
        ({"images": ["x"], "model": "nasnet:latest"}, 404, "'nasnet'"),
        ({"images": ["x"], "model": f"{MODEL}:2"}, 404, "no version '2'. There is latest."),
        ({"images": ["x"], "version": "2" * 999}, 404, "There is latest."),
    ],
)
def test_malformed_request_is_refused_with_its_id(
    url: str, message: dict[str, Any], status: int, told: str
) -> None:
    assert_error(send(url, {"id": "an-id"} | message), status, told, "an-id")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"id": 3}', b'{"id": "\\ud800"}'])
def test_request_that_cannot_be_read_is_refused(url: str, body: bytes) -> None:
    assert_error(send(url, body), 400, "")


def test_form_is_refused(url: str, cat: bytes) -> None:
    assert_error(ask(url, PATH, form(cat), FORM), 400, "no JSON")


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS", "file", "ftp"])
def test_no_address_is_fetched(url: str, scheme: str) -> None:
    address = f"{scheme}://127.0.0.1:9/cat.jpg"
    told = "No address is ever fetched here: send the picture itself"
    assert_error(send(url, {"id": "x", "images": [address]}), 400, told, "x")
    assert_error(send(url, {"id": "x", "url": address}), 400, told, "x")


def test_number_of_images_has_a_sharp_limit(home: Path, cat: bytes) -> None:
    seen: list[Pixels] = []
    with (
        Classifier(backend=DummyBackend(seen.append), home=home) as made,
        serving(made, max_parts=2) as url,
    ):
        assert send(url, photo(cat, cat))[0] == 200
        runs = len(seen)
        answer = send(url, photo(cat, cat, cat))
        assert len(seen) == runs
    assert_error(answer, 413, "more than 2 pictures", "an-id")


@pytest.mark.parametrize("depth", [900, 1_100, 100_000])
@pytest.mark.parametrize("place", ["id", "images", "model", "url", "options"])
def test_endless_nesting_is_refused(url: str, depth: int, place: str) -> None:
    nested = b"[" * depth + b"]" * depth
    body = json.dumps(photo(b"x") | {place: "HERE"}).encode().replace(b'"HERE"', nested)
    assert send(url, body)[0] in {400, 415}


def test_body_limit_counts_the_base64(dummy: Classifier) -> None:
    body = json.dumps(photo(b"x" * 74_000)).encode()
    assert len(body) < 100_000
    with serving(dummy, max_body_mb=0.1) as url:
        assert_error(send(url, body.ljust(100_000)), 415, "Image 0: ", "an-id")
        assert_error(send(url, body.ljust(100_001)), 413, "larger than 0.1 MB")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET {PATH} HTTP/1.1\r\n", 405),
        ("POST /api/v1/vision/caption HTTP/1.1\r\n", 404),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: 99000000\r\n", 413),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: x\r\n", 400),
        (f"POST {PATH} HTTP/1.1\r\nOrigin: http://evil.example\r\n", 403),
    ],
)
def test_refusal_of_framework_server_or_guard_is_one_of_its_errors(
    url: str, head: str, status: int
) -> None:
    assert_error(say(url, head.encode(), b"Host: localhost\r\n\r\n"), status, ".")


def test_token_is_needed(dummy: Classifier, cat: bytes) -> None:
    with serving(dummy, token=TOKEN) as url:
        assert_error(send(url, photo(cat)), 401, "wants a token")
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert ask(url, PATH, json.dumps(photo(cat)).encode(), right)[0] == 200
