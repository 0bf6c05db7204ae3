"""One deadline from the moment a request arrives, and no work for who has left: on every route."""

import base64
import json
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving import FORM, Answer, Clock, ask, connect, form, gated, hear, running, undecoded
from sightbox.classifier import Classifier
from sightbox.errors import DeadlineError
from sightbox.patience import ENDLESS, Patience
from sightbox.settings import load_settings
from sightbox.web.app import create_app

MODEL = "efficientnet-lite0"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Question:
    """A request for answers about pictures."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def sent(self) -> bytes:
        """Returns it as it goes over a connection."""
        fields = {"Host": "localhost", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {fields[name]}" for name in fields)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def ask(self, url: str) -> Answer:
        """Sends it, and returns the answer."""
        return ask(url, self.path, self.body, self.headers)


def questions(picture: bytes) -> dict[str, Question]:
    """Returns a question for each way to ask about pictures over HTTP."""
    text = base64.b64encode(picture).decode()
    tensor = {
        "name": "images",
        "shape": [2],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [text, text],
    }

    def said(path: str, **message: object) -> Question:
        return Question(path, json.dumps(message).encode(), JSON)

    return {
        "native": Question("/v1/classify", picture),
        "form": Question("/v1/classify", form(*[picture] * 9), FORM),
        "page": Question("/", form(*[picture] * 9), FORM),
        "torchserve": Question(f"/predictions/{MODEL}", picture),
        "huggingface": Question(f"/models/{MODEL}", picture),
        "photoprism": said("/api/v1/vision/labels", images=[f"data:image/png;base64,{text}"] * 2),
        "open inference": said(f"/v2/models/{MODEL}_image/infer", inputs=[tensor]),
    }


WAYS = tuple(questions(b""))


@pytest.mark.parametrize("way", WAYS)
def test_picture_of_a_client_that_has_left_is_not_computed(
    home: Path, cat: bytes, way: str
) -> None:
    """The engine is busy; a second client asks and leaves; a third one is answered."""
    question, settings = questions(cat)[way], load_settings(port=0)
    with (
        gated(home) as (classifier, gate),
        running(create_app(classifier, settings), settings) as server,
        connect(server.url) as stays,
    ):
        stays.sendall(questions(cat)["native"].sent())
        assert gate.entered.wait(60)
        with connect(server.url) as leaves:
            leaves.sendall(question.sent())
            while not classifier.load.waiting:
                pass
        seen = gate.pictures
        gate.open.set()
        assert hear(stays)[0] == 200
        assert ask(server.url, "/v1/classify", cat)[0] == 200
        while server._waitress.buffered.count():
            pass
    assert gate.pictures == seen + 1


def answered(way: str, answer: Answer) -> bool:
    """Tells whether each picture of a question has its classes; else the time was over."""
    status, _, body = answer
    if way == "form":
        codes = {result.get("error", {}).get("code") for result in body["results"]}
        assert codes in ({None}, {"deadline_exceeded"}), body
        return codes == {None}
    if way == "page":
        return "took too long" not in body.decode() and "%" in body.decode()
    assert status in {200, 504}, body
    return status == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("waited", [29.0, 30.0])
def test_time_that_a_request_waits_for_a_thread_is_not_given_twice(
    dummy: Classifier, cat: bytes, way: str, waited: float
) -> None:
    """The only thread is busy for nearly all, or for all of `max_wait`; then the engine is free."""
    question, clock, answers = questions(cat)[way], Clock(), list[Answer]()
    settings = load_settings(port=0, http_threads=1, max_wait=30)
    with running(create_app(dummy, settings), settings, clock) as server, ExitStack() as turns:
        turns.enter_context(undecoded(dummy))
        with connect(server.url) as first:
            first.sendall(questions(cat)["native"].sent())
            while not dummy.decoder.budget.waiting:
                pass
            second = threading.Thread(target=lambda: answers.append(question.ask(server.url)))
            second.start()
            while not server._waitress.waiting:
                pass
            clock.now += waited
            turns.close()
            assert hear(first)[0] == 200
            second.join()
    assert answered(way, answers[0]) == (waited < 30)


def test_walk_has_the_same_deadline(dummy: Classifier, cat: bytes) -> None:
    settings = load_settings(port=0, max_wait=1e-9)
    with running(create_app(dummy, settings), settings) as server:
        status, _, problem = ask(server.url, "/v1/walkthrough", cat)
    assert (status, problem["code"]) == (504, "deadline_exceeded")
    assert "max_wait" in problem["hint"]


def test_other_servers_than_ours_give_the_whole_time(dummy: Classifier, cat: bytes) -> None:
    client = create_app(dummy, load_settings()).test_client()
    assert client.post("/v1/classify", data=cat).status_code == 200
    client = create_app(dummy, load_settings(max_wait=1e-9)).test_client()
    assert client.post("/v1/classify", data=cat).status_code == 504


def test_patience_ends_at_its_deadline_or_with_its_client() -> None:
    Patience.lasting(60).check()
    ENDLESS.check()
    with pytest.raises(DeadlineError, match=r"The time was over .* max_wait"):
        Patience.lasting(0).check()
    with pytest.raises(DeadlineError, match="Nobody waits"):
        Patience.lasting(60, lambda: True).check()
    left = Patience(time.monotonic() + 60).seconds
    assert left is not None
    assert 59 < left <= 60
    assert Patience.lasting(-5).seconds == 0
    assert ENDLESS.seconds is None


@pytest.mark.parametrize("make", [threading.Lock, threading.Semaphore])
@pytest.mark.parametrize("patience", [ENDLESS, Patience.lasting(3600)])
def test_lock_is_held_inside_alone(make: "type[threading.Semaphore]", patience: Patience) -> None:
    lock = make()
    with patience.holding(lock):
        with pytest.raises(DeadlineError), Patience.lasting(0).holding(lock):
            pass
        assert not lock.acquire(blocking=False)
    for ended in (Patience.lasting(0), Patience(abandoned=lambda: True)):
        with pytest.raises(DeadlineError), ended.holding(lock):
            pass
        assert lock.acquire(blocking=False), "it was given back"
        lock.release()
