"""A real server on a real port, and a plain client for it."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.server import Server

BOUNDARY = "a-boundary"
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
        response = connection.getresponse()
        content = response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        return response.status, response.headers, json.loads(content) if is_json else content
    finally:
        connection.close()


def form(*files: bytes, name: str = "image") -> bytes:
    """Returns a multipart body with one part for each file (RFC 7578)."""
    head = f'Content-Disposition: form-data; name="{name}"; filename="x"'
    parts = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@contextmanager
def serving(classifier: Classifier, **given: object) -> Iterator[str]:
    """Serves `classifier` on a free port of this machine, and gives the URL."""
    settings = load_settings(port=0, **given)
    server = Server(create_app(classifier, settings), settings)
    thread = threading.Thread(target=server.run, name="sightbox-server")
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


def assert_problem(answer: Answer, status: int, code: str) -> str:
    """Checks that an answer is a problem detail, and returns its text."""
    found, headers, problem = answer
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert headers["Content-Type"] == "application/problem+json"
    assert set(problem) <= {"type", "title", "status", "detail", "code", "hint"}
    assert "Traceback" not in str(problem)
    return str(problem["detail"]) + " " + str(problem.get("hint", ""))
