"""A real server on a real port, and a plain client for it."""

import asyncio
import gc
import http.client
import json
import socket
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask

from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.residents import Residents
from sightbox.settings import Settings, load_settings
from sightbox.web.app import create_app
from sightbox.web.server import Server

BOUNDARY = "a-boundary"
END = f"--{BOUNDARY}--\r\n".encode()
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
Answer = tuple[int, http.client.HTTPMessage, Any]


def ask(
    url: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """Sends one request and returns status, headers and the parsed body."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        method = method or ("GET" if body is None else "POST")
        connection.request(method, path, body, dict(headers or {}))
        return read_answer(connection.getresponse())
    finally:
        connection.close()


def read_answer(response: http.client.HTTPResponse) -> Answer:
    """Returns status, headers and body of a response; JSON is parsed unless it is compressed."""
    content = response.read()
    is_json = "json" in response.headers.get("Content-Type", "")
    is_json = is_json and "Content-Encoding" not in response.headers
    return response.status, response.headers, json.loads(content) if is_json else content


def connect(url: str) -> socket.socket:
    """Returns a bare connection to the server."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def hear(connection: socket.socket) -> Answer:
    """Reads one answer from a bare connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return read_answer(response)


def say(url: str, *words: bytes) -> Answer:
    """Sends bytes as they are, and reads one answer."""
    with connect(url) as connection:
        connection.sendall(b"".join(words))
        return hear(connection)


def part(content: bytes, name: str = "image", more: str = '; filename="x"') -> bytes:
    """Returns one part of a multipart body (RFC 7578): a file, or a text when `more` is empty."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*files: bytes, name: str = "image") -> bytes:
    """Returns a multipart body with one part for each file."""
    return b"".join(part(file, name) for file in files) + END


class Clock:
    """A clock that a test turns forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """Counts the pictures that reach the engine; keeps them there while it is shut."""

    def __init__(self) -> None:
        self.pictures = 0
        self.entered, self.open = threading.Event(), threading.Event()
        self.open.set()

    def __call__(self, images: Pixels) -> None:
        """Lets a batch wait."""
        self.pictures += len(images)
        self.entered.set()
        assert self.open.wait(60)

    def shut(self) -> None:
        """Keeps the next batch."""
        self.entered.clear()
        self.open.clear()


@contextmanager
def gated(home: Path) -> Iterator[tuple[Classifier, Gate]]:
    """Gives a classifier whose engine waits behind a gate, which is shut, and open at the end."""
    gate = Gate()
    with Classifier(backend=DummyBackend(gate), home=home) as classifier:
        gate.shut()
        try:
            yield classifier, gate
        finally:
            gate.open.set()


@contextmanager
def running(
    app: Flask, settings: Settings, clock: Callable[[], float] = time.monotonic
) -> Iterator[Server]:
    """Runs an application in a server on a free port of this machine."""
    server = Server(app, settings, clock)
    thread = threading.Thread(target=server.run, name="sightbox-server")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextmanager
def undecoded(classifier: Classifier) -> Iterator[None]:
    """Keeps every picture from being decoded: all places are taken."""
    with ExitStack() as turns:
        for _ in range(classifier.decoder.budget.pictures):
            turns.enter_context(classifier.decoder.budget.turn())
        yield


@contextmanager
def serving(classifier: Classifier, **given: object) -> Iterator[str]:
    """Serves `classifier`, and gives the URL."""
    settings = load_settings(port=0, **given)
    with (
        Residents(classifier, settings) as residents,
        running(create_app(classifier, settings, residents), settings) as server,
    ):
        yield server.url


def assert_problem(answer: Answer, status: int, code: str) -> str:
    """Checks that an answer is a problem detail, and returns its text."""
    found, headers, problem = answer
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert set(problem) <= {"type", "title", "status", "detail", "code", "hint", "request_id"}
    assert problem["request_id"] == headers["X-Request-Id"]
    assert "Traceback" not in str(problem)
    return str(problem["detail"]) + " " + str(problem.get("hint", ""))


def in_own_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine of a stock client in a loop and a thread of its own.

    Playwright, where it was started, has its loop in the tests' thread. The clients leave an answer
    without a body unread, whose connection complains when it is collected: here, not in some test.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, coroutine).result()
        gc.collect()
