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
from http import HTTPStatus
from types import FrameType
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error as WaitressError

from sightbox.errors import RequestError, SightboxError
from sightbox.schema import Json, problem_to_json, status_to_json
from sightbox.settings import Settings
from sightbox.web.api import BYTES_PER_MB, body_limit_bytes
from sightbox.web.guard import HEADERS, check_token
from sightbox.web.listening import listen
from sightbox.web.problems import body_too_large, problem_response
from sightbox.web.service import CLIENT_GONE, Service

MAX_HEADER_BYTES = 16_384
"""Most bytes of a request's head: browsers send about 1,000 without cookies."""

MAX_BUFFERED_MB = 256
"""Most megabytes of request bodies in memory, over all connections: eight of the largest default
size, one for each thread. A larger `max_body_mb` raises it to two of the largest."""

STALLED_SECONDS = 20
"""How long a connection may be silent before it is closed; uploads over bad links pause less."""

CLEANUP_SECONDS = 5
"""How often silent connections are looked for."""

MAX_CONNECTIONS = 1_024
"""Most open connections; an idle one costs a descriptor and little memory."""

LINGER_BYTES = 256 * 1024**2
"""Most bytes that a refused client may still send before it is cut off."""

OUTPUT_BUFFER_BYTES = 64 * 1024**2
"""Output above this would go to a temporary file; no answer comes near."""

logger = logging.getLogger(__name__)


class Task(WSGITask):
    """A request; while the server stops, its connection closes with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Returns what the application knows of the request."""
        environment: dict[str, Any] = super().get_environment()
        return environment | {CLIENT_GONE: self.channel.is_abandoned}

    def execute(self) -> None:
        """Runs the application."""
        if self.channel.server.draining.is_set():
            self.set_close_on_finish()
        super().execute()


class BusyError(SightboxError):
    """The request bodies in memory are as many as may be; try again shortly."""

    code = "too_many_uploads"
    title = "The server is busy"
    status = 503


class Request(HTTPRequestParser):
    """A request as it comes in; one that cannot be answered is refused before its body is read."""

    error: SightboxError | WaitressError | None = None
    path = ""

    def __init__(self, adj: Any, server: Any) -> None:  # noqa: ANN401 - waitress has no types
        super().__init__(adj)
        self._server = server

    @property
    def held(self) -> int:
        """How many bytes of the body are in memory."""
        return 0 if self.body_rcv is None else len(self.body_rcv)

    def received(self, data: bytes) -> int:
        """Takes in what has come, and returns how many bytes of it belong to this request."""
        knew_head = self.headers_finished
        consumed: int = super().received(data)
        if self.body_rcv is not None and self.error is None:
            try:
                if knew_head:
                    self._check_body()
                else:
                    self._check_head()
            except SightboxError as error:
                self.error = error
        if self.error is not None:
            self.completed = True
            self.close()
        if self.completed:
            # Or waitress would ask for a body that is refused or that does not exist.
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Reads the head.

        Raises:
            ParsingError: It is malformed.
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("The address or a number cannot be read") from error
        # Whoever stands in front of this server may believe the other of the two, and take the
        # rest for a request of its own (RFC 9112, section 6.3).
        if b"\r\ntransfer-encoding:" in header_plus.lower() and (
            "CONTENT_LENGTH" in self.headers or self.version != "1.1"
        ):
            raise ParsingError("Transfer-Encoding goes with neither Content-Length nor HTTP/1.0")

    def _check_head(self) -> None:
        if self._server.token is not None:
            check_token(self.headers.get("AUTHORIZATION", ""), self._server.token)

    def _check_body(self) -> None:
        if self.chunked and (
            len(self.body_rcv.control_line) + len(self.body_rcv.trailer) > MAX_HEADER_BYTES
        ):
            # Waitress would search an endless line anew with each packet.
            raise RequestError("A line between the chunks is too long.")
        if not self.completed and bytes_held(self._server) > self._server.max_buffered_bytes:
            raise BusyError("The server holds as many uploads as it may.", "Try again soon.")


class ProblemTask(ErrorTask):
    """A request that is refused before the application sees it, such as one that is too large."""

    def execute(self) -> None:
        """Answers why, and closes the connection."""
        status, headers, body = problem_response(
            self._problem(self.request.error), self.request.path
        )
        self.status = f"{status} {HTTPStatus(status).phrase}"
        self.response_headers.extend((HEADERS | headers).items())
        self.content_length = len(body)
        self.channel.refused = True
        self.set_close_on_finish()
        self.write(body)

    def _problem(self, refusal: SightboxError | WaitressError) -> Json:
        if isinstance(refusal, SightboxError):
            return problem_to_json(refusal)
        if refusal.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return problem_to_json(body_too_large(self.channel.server.max_body_mb))
        if refusal.code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            text = f"The request's head is larger than {MAX_HEADER_BYTES:,} bytes"
        else:
            text = refusal.body.rstrip(".")
        return status_to_json(refusal.code, f"{text}.")


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

    def parser_class(self, adj: Any) -> Request:  # noqa: ANN401 - waitress has no types
        """Returns a request that is yet to come; waitress has a class in this place."""
        return Request(adj, self.server)

    @property
    def held(self) -> int:
        """How many bytes of its requests' bodies are in memory."""
        requests: list[Request] = [*self.requests, *filter(None, [self.request])]
        return sum(request.held for request in requests)

    @property
    def busy(self) -> bool:
        """Whether a request is being received or worked on, or an answer being sent."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len)

    def is_abandoned(self) -> bool:
        """Tells whether the client has closed the connection, or its half of it.

        Waitress does not look while a request is worked on: a channel that it closes would no
        longer count what it holds.
        """
        try:
            # Waitress' sockets never wait.
            return len(self.socket.recv(1, socket.MSG_PEEK)) == 0
        except BlockingIOError:
            return False
        except OSError:
            return True

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
        self.last_activity = time.time()
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


def bytes_held(server: Any) -> int:  # noqa: ANN401 - waitress has no types
    """Returns how many bytes of bodies are in memory, over all connections of waitress' server."""
    return sum(channel.held for channel in list(server.active_channels.values()))


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
        self._socket = listen(settings.host, settings.port)
        self._waitress = create_server(
            app,
            map=self._sockets,
            sockets=[self._socket],
            threads=settings.http_threads,
            # Waitress refuses what reaches this number, before the body was read.
            max_request_body_size=body_limit_bytes(settings.max_body_mb) + 1,
            max_request_header_size=MAX_HEADER_BYTES + 1,
            connection_limit=MAX_CONNECTIONS,
            channel_timeout=STALLED_SECONDS,
            cleanup_interval=CLEANUP_SECONDS,
            # Uploads are kept in memory: they never touch the disk.
            inbuf_overflow=2 * body_limit_bytes(settings.max_body_mb),
            outbuf_overflow=OUTPUT_BUFFER_BYTES,
            asyncore_use_poll=True,
            ident=None,
        )
        self._waitress.channel_class = Channel
        self._waitress.draining = self._draining
        self._waitress.max_body_mb = settings.max_body_mb
        self._waitress.token = settings.token
        self._waitress.max_buffered_bytes = max(
            MAX_BUFFERED_MB * BYTES_PER_MB, 2 * body_limit_bytes(settings.max_body_mb)
        )

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
