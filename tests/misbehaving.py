"""A real server on a real port that answers as it is told: rightly, wrongly, or not at all."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers a request; the second argument is its number, from 0 on."""


@contextmanager
def misbehaving(behaviour: Behaviour, protocol: str = "HTTP/1.1") -> Iterator[str]:
    """Serves, and gives the URL."""
    numbers = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = protocol

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            behaviour(self, next(numbers))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    """Answers with a body whose length is told."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def native(index: int) -> bytes:
    """Returns what the native API answers, as much of it as a load test reads."""
    return b'{"predictions": [{"index": %d}]}' % index
