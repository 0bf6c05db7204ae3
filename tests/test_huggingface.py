"""Hugging Face's image classification task: its answers, and its words for every error."""

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest

from serving import Answer, ask, say, serving
from sightbox.classifier import Classifier
from sightbox.web.dialects.fields import DEFAULT_LIMITS
from sightbox.web.dialects.huggingface import apply

MODEL = "efficientnet-lite0"
PATH = f"/models/{MODEL}"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


def send(url: str, message: object, **headers: str) -> Answer:
    """Sends JSON, and says so."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return ask(url, PATH, body, {"Content-Type": "application/json"} | headers)


def question(picture: bytes, **parameters: object) -> dict[str, Any]:
    """Returns a request with a picture as base64."""
    text = base64.b64encode(picture).decode()
    return {"inputs": text} | ({"parameters": parameters} if parameters else {})


def assert_error(answer: Answer, status: int, told: str) -> None:
    """Checks that an answer is an error as this API spells it."""
    found, headers, body = answer
    assert (found, headers["Content-Type"]) == (status, "application/json"), body
    assert list(body) == ["error"]
    assert told in body["error"], body
    assert len(body["error"]) < 500


def test_real_model_answers_as_the_native_api_does(classifier: Classifier, cat: bytes) -> None:
    with serving(classifier) as url:
        native = ask(url, "/v1/classify", cat)[2]["predictions"]
        status, headers, body = ask(url, PATH, cat)
        chinese = ask(url, f"{PATH}?lang=zh", cat)[2]
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert [set(one) for one in body] == [{"label", "score"}] * 5
    for one, two, expected in zip(body, chinese, native, strict=True):
        assert one["label"] == expected["label"]["en"]
        assert two["label"] == expected["label"]["zh"]
        assert one["score"] == two["score"] == pytest.approx(expected["score"], abs=2e-6)


def test_every_way_to_send_a_picture_gives_the_same(url: str, cat: bytes) -> None:
    expected = ask(url, PATH, cat)[2]
    message = question(cat)
    address = {"inputs": f"data:image/png;base64,{message['inputs']}"}
    upper = {"inputs": f"DATA:;Base64,{message['inputs']}"}
    assert send(url, message)[2] == send(url, address)[2] == send(url, upper)[2] == expected
    # curl declares a form when it is told nothing.
    for kind in ("application/x-www-form-urlencoded", "image/jpeg", "application/octet-stream"):
        body = b" \n" + json.dumps(message).encode()
        assert ask(url, PATH, body, {"Content-Type": kind})[2] == expected
        assert ask(url, PATH, cat, {"Content-Type": kind})[2] == expected
    packed = gzip.compress(json.dumps(message).encode())
    assert send(url, packed, **{"Content-Encoding": "gzip"})[2] == expected


def test_functions_make_other_scores_of_the_same_logits(classifier: Classifier, cat: bytes) -> None:
    logits = classifier.infer(classifier.prepare(cat).pixels[None])[0].logits.astype(np.float64)
    best = np.argsort(-logits)[:3]
    expected = {
        "softmax": np.exp(logits) / np.exp(logits).sum(),
        "sigmoid": 1 / (1 + np.exp(-logits)),
        "none": logits,
    }
    with serving(classifier) as url:
        for function, scores in expected.items():
            body = send(url, question(cat, top_k=3, function_to_apply=function))[2]
            assert [one["score"] for one in body] == pytest.approx(list(scores[best]), abs=1e-6)


def test_sigmoid_of_anything_is_a_probability() -> None:
    scores = apply("sigmoid", np.array([-1e30, -800, 0, 800, 1e30], np.float32))
    assert list(scores) == [0, 0, 0.5, 1, 1]


def test_parameters_that_are_null_or_unknown_are_passed_over(url: str, cat: bytes) -> None:
    expected = ask(url, PATH, cat)[2]
    message = question(cat, top_k=None, function_to_apply=None, later=[1])
    assert send(url, message | {"options": {"wait_for_model": True}})[2] == expected
    assert send(url, question(cat) | {"parameters": None})[2] == expected


@pytest.mark.parametrize("top_k", [1, 5000])
def test_as_many_classes_come_as_there_are_and_are_wanted(url: str, cat: bytes, top_k: int) -> None:
    assert len(send(url, question(cat, top_k=top_k))[2]) == min(top_k, 1000)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"{", "no JSON"),
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b'"x"', "no JSON object"),
        (b"{\xff}", "UTF-8"),
        (b'{"inputs": NaN}', "nobody can read"),
        ({}, "inputs is missing, or no text"),
        ({"inputs": 3}, "inputs is missing, or no text"),
        ({"inputs": ["aGk="]}, "inputs is missing, or no text"),
        ({"inputs": "\ud800"}, "inputs is missing, or no text"),
        ({"inputs": "*"}, "inputs is no base64"),
        ({"inputs": "aGk"}, "inputs is no base64"),
        ({"inputs": "ä"}, "inputs is no base64"),
        ({"inputs": ""}, "empty"),
        ({"inputs": "data:image/png,x"}, "without base64"),
        ({"inputs": "data:"}, "without base64"),
        ({"inputs": "data:;base64"}, "without base64"),
        ({"inputs": "data:;base64,*"}, "no base64"),
        (question(b"x") | {"parameters": []}, "parameters is no JSON object"),
        (question(b"x", top_k=0), "top_k is no whole number from 1 up"),
        (question(b"x", top_k=True), "top_k is no whole number"),
        (question(b"x", top_k="3"), "top_k is no whole number"),
        (question(b"x", top_k=1.5), "top_k is no whole number"),
        (question(b"x", function_to_apply="max"), "It can be softmax, sigmoid, none."),
        (question(b"x", function_to_apply=["none"]), "function_to_apply is unknown"),
    ],
)
def test_malformed_request_is_refused(url: str, message: object, told: str) -> None:
    assert_error(send(url, message), 400, told)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/cat.jpg",
        "https://example.org/cat.jpg",
        "HTTP://example.org/cat.jpg",
        "file:///etc/hostname",
        "ftp://example.org/cat.jpg",
        "gopher:x",
        "x-data:;base64,aGk=",
        "http://example.org/data:;base64,aGk=",
    ],
)
def test_no_address_is_fetched(url: str, address: str) -> None:
    assert_error(send(url, {"inputs": address}), 400, "No address is ever fetched")


@pytest.mark.parametrize("depth", [900, 1_100, 100_000])
@pytest.mark.parametrize("place", ["inputs", "parameters", "other"])
def test_endless_nesting_is_refused(url: str, depth: int, place: str) -> None:
    nested = b"[" * depth + b"]" * depth
    body = json.dumps({"inputs": "eA=="} | {place: "HERE"}).encode().replace(b'"HERE"', nested)
    assert send(url, body)[0] in {400, 415}


def test_json_has_a_sharp_limit_on_its_values(url: str) -> None:
    """A brace and a bracket, and for each further value a comma."""
    most = DEFAULT_LIMITS.max_values
    for values, status, told in ((most - 2, 400, "inputs"), (most - 1, 413, "values")):
        body = b'{"x":[' + b"0," * values + b"0]}"
        assert_error(send(url, body), status, told)


def test_body_limit_counts_the_base64_and_is_kept_inflated_too(dummy: Classifier) -> None:
    small = json.dumps(question(b"x" * 74_985)).encode()
    assert len(small) == 99_994
    with serving(dummy, max_body_mb=0.1, max_inflated_mb=0.1) as url:
        fits = send(url, small + b" " * 6)
        too_large = send(url, small + b" " * 7)
        bomb = send(url, gzip.compress(small + b" " * 7), **{"Content-Encoding": "gzip"})
    assert_error(fits, 415, "accepted are")
    for answer in (too_large, bomb):
        assert_error(answer, 413, "larger than 0.1 MB")


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/models/nope", 404, "'nope'"),
        ("/models/google/vit-base-patch16-224", 404, "'google/vit-base-patch16-224'"),
        ("/models/..%2f..%2fetc", 404, ""),
        ("/models", 404, "not found"),
        (f"{PATH}?lang=xx", 400, "lang can be en, zh."),
    ],
)
def test_unknown_place_is_an_error_of_the_api(
    url: str, cat: bytes, path: str, status: int, told: str
) -> None:
    assert_error(ask(url, path, cat), status, told)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"GET {PATH} HTTP/1.1\r\n", 405),
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
        assert_error(ask(url, PATH, cat), 401, "wants a token")
        assert ask(url, PATH, cat, {"Authorization": f"Bearer {TOKEN}"})[0] == 200
