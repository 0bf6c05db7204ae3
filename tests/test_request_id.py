"""The id of a request: on every answer, in every problem, and never a client's text."""

import re

import pytest

from serving import ask, say, serving
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app

TOKEN = "a-token-of-this-test-alone"  # noqa: S105 - of this test alone

PATHS = ["/livez", "/", "/static/icon.svg", "/v1/info", "/v1/nothing", "/v2/models/nothing", "/v2"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_request_id(dummy: Classifier, path: str) -> None:
    with serving(dummy) as url:
        kept = ask(url, path, headers={"X-Request-Id": "a.B_9-" + 58 * "z"})[1]
        made = [ask(url, path)[1]["X-Request-Id"] for _ in range(2)]
    assert kept["X-Request-Id"] == "a.B_9-" + 58 * "z"
    assert re.fullmatch("[0-9a-f]{16}", made[0])
    assert made[0] != made[1]


@pytest.mark.parametrize("given", ["", "two words", 65 * "a", "a,b", "ä", "a;b", "<b>", "$(a)"])
def test_request_id_that_is_not_plain_is_replaced(dummy: Classifier, given: str) -> None:
    with serving(dummy) as url:
        head = f"GET /nothing HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {given}\r\n\r\n"
        status, headers, problem = say(url, head.encode("latin-1"))
    assert status == 404
    assert re.fullmatch("[0-9a-f]{16}", headers["X-Request-Id"])
    assert problem["request_id"] == headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"Content-Length: 99999999\r\n\r\n", 413),
        (b"Content-Length: 1\r\n\r\n", 401),
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_request_that_is_refused_unread_keeps_its_id(
    dummy: Classifier, words: bytes, status: int
) -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\n"
    with serving(dummy, token=TOKEN) as url:
        found, headers, problem = say(url, head, words)
        _, foreign, error = say(url, head.replace(b"/v1/classify", b"/v2/models/m/infer"), words)
    assert (found, headers["X-Request-Id"], problem["request_id"]) == (status, "mine", "mine")
    assert foreign["X-Request-Id"] == "mine"
    assert set(error) == {"error"}


def test_second_request_of_a_connection_has_an_id_of_its_own(dummy: Classifier) -> None:
    client = create_app(dummy, load_settings()).test_client()
    first = client.get("/livez", headers={"X-Request-Id": "first"})
    second = client.get("/livez")
    assert first.headers["X-Request-Id"] == "first"
    assert second.headers["X-Request-Id"] != "first"
