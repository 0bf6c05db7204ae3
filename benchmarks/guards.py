"""What the checks of a request cost: who asks, from where, and how much they send.

Run ``python benchmarks/guards.py``. The same request goes through the application with and without
the guard, and through our reader of requests and waitress' own, in turn; medians over all rounds.
"""

import io
from collections.abc import Callable
from statistics import median
from time import monotonic, perf_counter
from types import SimpleNamespace

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from werkzeug.test import run_wsgi_app

from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web import guard
from sightbox.web.app import create_app
from sightbox.web.buffered import BufferedBytes
from sightbox.web.receiving import Request

TOKEN = "a-token-for-measuring"  # noqa: S105 - of the benchmark alone
ROUNDS = 2_000
BODY_BYTES = 110_000
"""A photo of about 500 x 375 px."""

READ_BYTES = 8_192
"""What the server reads at first; the rest of a body comes at once."""


def main() -> None:
    """Prints the milliseconds of each part with and without checks."""
    settings = load_settings(token=TOKEN)
    head = (
        "POST /v1/classify HTTP/1.1\r\nHost: localhost:8018\r\nOrigin: http://localhost:8018\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    ).encode()
    with Classifier(backend=DummyBackend()) as classifier:
        guarded, bare = (create_app(classifier, settings) for _ in range(2))
        _unguard(bare)
        rows = {
            "application": (lambda: _ask(guarded), lambda: _ask(bare)),
            "reading a photo": _readers(head + b"x" * BODY_BYTES, settings),
        }
        added = 0.0
        for name, (with_checks, without) in rows.items():
            checked, plain = _medians(with_checks, without)
            added += checked - plain
            print(f"{name:16} {checked:.3f} ms with checks, {plain:.3f} ms without")
    print(f"{'checks add':16} {added:.3f} ms a request")


def _unguard(app: Flask) -> None:
    app.before_request_funcs[None].remove(guard._check_request)  # noqa: SLF001 - to be left out
    app.after_request_funcs[None].remove(guard._add_headers)  # noqa: SLF001 - likewise


def _ask(app: Flask) -> None:
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/models",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8018",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "HTTP_HOST": "localhost:8018",
        "HTTP_ORIGIN": "http://localhost:8018",
        "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
    }
    body, status, _ = run_wsgi_app(app, environment)
    b"".join(body)
    if not status.startswith("200"):
        raise RuntimeError(f"The application answers {status}.")


def _readers(request: bytes, settings: object) -> tuple[Callable[[], None], Callable[[], None]]:
    adjustments = Adjustments(max_request_body_size=2 * BODY_BYTES, inbuf_overflow=2 * BODY_BYTES)
    server = SimpleNamespace(
        settings=settings, buffered=BufferedBytes({}, 2**40), clock=monotonic, waiting=0
    )

    def read(reader: HTTPRequestParser) -> None:
        # What waitress' channel does: what was not consumed is offered again.
        for piece in (request[:READ_BYTES], request[READ_BYTES:]):
            left = piece
            while left and not reader.completed:
                left = left[reader.received(left) :]
        if not reader.completed or reader.error:
            raise RuntimeError(f"The request is not read: {reader.error}")
        reader.close()

    return lambda: read(Request(adjustments, server)), lambda: read(HTTPRequestParser(adjustments))


def _medians(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for run, found in zip((one, other), times, strict=True):
            start = perf_counter()
            run()
            found.append(1000 * (perf_counter() - start))
    return median(times[0]), median(times[1])


if __name__ == "__main__":
    main()
