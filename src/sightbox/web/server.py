"""The server: waitress, with problem details for its own errors, and an orderly stop.

Waitress buffers whole requests before a thread touches them, so that stalled uploads hold a socket
and not a thread; see the measurements in docs/architecture.md.
"""

import logging
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask

from sightbox.errors import RequestError, SettingsError
from sightbox.schema import problem_to_json
from sightbox.settings import Settings
from sightbox.web.api import body_limit_bytes
from sightbox.web.problems import MEDIA_TYPE, body_too_large, problem_bytes
from sightbox.web.service import Service

MAX_HEADER_BYTES = 16_384
"""Most bytes of a request's head: browsers send about 1,000 without cookies."""

MAX_CONNECTIONS = 1_024
"""Most open connections; an idle one costs a descriptor and little memory."""

LINGER_BYTES = 256 * 1024**2
"""Most bytes that a refused client may still send before it is cut off."""

OUTPUT_BUFFER_BYTES = 64 * 1024**2
"""Output above this would go to a temporary file; no answer comes near."""

logger = logging.getLogger(__name__)


class Task(WSGITask):
    """A request; while the server stops, its connection closes with the answer."""

    def execute(self) -> None:
        """Runs the application."""
        if self.channel.server.draining.is_set():
            self.set_close_on_finish()
        super().execute()


class ProblemTask(ErrorTask):
    """A request that waitress itself refuses, such as one that is too large."""

    def execute(self) -> None:
        """Answers with a problem detail and closes the connection."""
        refusal = self.request.error
        if refusal.code == 413:
            error: RequestError = body_too_large(self.channel.server.max_body_mb)
        else:
            error = RequestError(f"{refusal.reason}: {refusal.body}.")
        body = problem_bytes(problem_to_json(error, refusal.code))
        self.status = f"{refusal.code} {refusal.reason}"
        self.response_headers.append(("Content-Type", MEDIA_TYPE))
        self.content_length = len(body)
        self.channel.refused = True
        self.set_close_on_finish()
        self.write(body)


class Channel(HTTPChannel):
    """A connection.

    One that is closed before the request was read whole lingers: it throws away what still
    comes, so that the client can finish sending and then reads why it was refused. Closed at
    once, the system would reset the connection and the answer would be lost (RFC 9112, 9.6).
    """

    task_class = Task
    error_task_class = ProblemTask
    refused = False
    _discarded: int | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being received or worked on, or an answer being sent."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len)

    def readable(self) -> bool:
        """Whether to read."""
        return self._discarded is not None or super().readable()

    def handle_read(self) -> None:
        """Reads, or throws away what a refused client still sends."""
        if self._discarded is None:
            super().handle_read()
            return
        # At the end of the stream `recv` closes the connection itself.
        self._discarded += len(self.recv(self.adj.recv_bytes))
        if self._discarded > LINGER_BYTES:
            self.handle_close()

    def handle_close(self) -> None:
        """Closes the connection; a refused one half-way first."""
        if self.refused and self.connected and self._discarded is None:
            self._discarded = 0
            self.will_close = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()


class Server:
    """Listens from its making on; `run` serves until `stop`.

    Args:
        app: The application of `create_app`.
        settings: Address, limits and grace period.

    Raises:
        SettingsError: The address cannot be listened on.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        service: Service = app.extensions["sightbox"]
        self._grace = settings.grace
        self._draining = service.draining
        self._sockets: dict[int, Any] = {}
        self._socket = _listen(settings.host, settings.port)
        self._waitress = create_server(
            app,
            map=self._sockets,
            sockets=[self._socket],
            threads=settings.http_threads,
            # Waitress refuses what reaches this number, before the body was read.
            max_request_body_size=body_limit_bytes(settings.max_body_mb) + 1,
            max_request_header_size=MAX_HEADER_BYTES,
            connection_limit=MAX_CONNECTIONS,
            # Uploads are kept in memory: they never touch the disk.
            inbuf_overflow=2 * body_limit_bytes(settings.max_body_mb),
            outbuf_overflow=OUTPUT_BUFFER_BYTES,
            asyncore_use_poll=True,
            clear_untrusted_proxy_headers=True,
            expose_tracebacks=False,
            ident=None,
        )
        self._waitress.channel_class = Channel
        self._waitress.draining = self._draining
        self._waitress.max_body_mb = settings.max_body_mb

    @property
    def url(self) -> str:
        """The address to open."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> bool:
        """Serves until `stop` is called, then finishes what was accepted.

        Returns:
            Whether everything that was accepted was answered within the grace period.
        """
        while not self._draining.is_set():
            self._poll()
        return self._drain()

    def stop(self) -> None:
        """Asks `run` to come to an end; may be called from a signal handler or any thread."""
        self._draining.set()
        self._waitress.pull_trigger()

    def _poll(self) -> None:
        wasyncore.loop(timeout=1, use_poll=True, map=self._sockets, count=1)

    def _drain(self) -> bool:
        self._waitress.accepting = False
        self._waitress.del_channel(self._sockets)
        self._socket.close()
        deadline = time.monotonic() + self._grace
        while self._busy() and time.monotonic() < deadline:
            self._poll()
        unanswered = self._busy()
        if unanswered:
            logger.warning("%d requests were not answered in time.", unanswered)
        self._waitress.task_dispatcher.shutdown(timeout=0 if unanswered else 1)
        wasyncore.close_all(self._sockets)
        return not unanswered

    def _busy(self) -> int:
        return sum(channel.busy for channel in list(self._waitress.active_channels.values()))


def stop_on_signals(server: Server) -> None:
    """Makes SIGTERM and Ctrl-C stop the server in order; a second one ends at once."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        signal.signal(number, signal.SIG_DFL)
        server.stop()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            "Is Sightbox running already? Another port: --port 8019.",
        ) from error
