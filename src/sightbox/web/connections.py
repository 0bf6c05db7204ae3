"""One connection: what waitress reads from it, when it refuses, and how it is closed.

Waitress knows neither problem details nor limits over all connections; these are its own classes
with that added.
"""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError, split_uri
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error as WaitressError
from waitress.utilities import RequestHeaderFieldsTooLarge

from sightbox.errors import RequestError, SightboxError
from sightbox.schema import Json, problem_to_json, status_to_json
from sightbox.settings import Settings
from sightbox.web.guard import HEADERS, check_place, check_token
from sightbox.web.observing import ARRIVED, REFUSED, REQUEST_ID
from sightbox.web.problems import body_too_large, problem_response
from sightbox.web.service import CLIENT_GONE

MAX_HEADER_BYTES = 16_384
"""Most bytes of a request's head: browsers send about 1,000 without cookies."""

BODY_READ_BYTES = 256 * 1024
"""Most bytes of a body that are read at once: most photos come in one or two reads."""

LINGER_BYTES = 256 * 1024**2
"""Most bytes that a refused client may still send before it is cut off."""


class Task(WSGITask):
    """A request; while the server stops, its connection closes with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Returns what the application knows of the request."""
        environment: dict[str, Any] = super().get_environment()
        return environment | {
            CLIENT_GONE: self.channel.is_abandoned,
            ARRIVED: self.request.arrived,
        }

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
    command = ""
    path = ""
    arrived: float | None = None

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
        if isinstance(self.error, RequestHeaderFieldsTooLarge):
            # Waitress puts a head of its own in the place of one that it does not read.
            self.path = _path_of(self.header_plus + data)
        self._server.buffered.add(consumed)
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
            self.arrived = time.perf_counter()
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
        # An address in the first line comes before the Host header (RFC 9112, section 3.2.2).
        if self.proxy_netloc and self.proxy_netloc.lower() != (self._header("Host") or "").lower():
            raise ParsingError("The address and the Host header name two hosts")

    def _header(self, name: str) -> str | None:
        found: str | None = self.headers.get(name.upper().replace("-", "_"))
        return found

    def _check_head(self) -> None:
        """Checks what the application would, before a body is taken in for nothing."""
        settings: Settings = self._server.settings
        check_place(settings, self.command, self._header)
        if settings.token is not None:
            check_token(self._header("Authorization") or "", settings.token)

    def _check_body(self) -> None:
        if self.chunked and (
            len(self.body_rcv.control_line) + len(self.body_rcv.trailer) > MAX_HEADER_BYTES
        ):
            # Waitress would search an endless line anew with each packet.
            raise RequestError("A line between the chunks is too long.")
        if not self.completed and not self._server.buffered.has_room():
            raise BusyError("The server holds as many uploads as it may.", "Try again soon.")


def _path_of(head: bytes) -> str:
    """Returns the path that a head asks for, however much of it came; "" when nobody can read it.

    Its target stands between the first two spaces (RFC 9112, section 3).
    """
    _, _, rest = head.lstrip().partition(b"\r\n")[0].partition(b" ")
    try:
        return str(split_uri(rest.partition(b" ")[0])[2])
    except (ParsingError, ValueError):
        return ""


class ProblemTask(ErrorTask):
    """A request that is refused before the application sees it, such as one that is too large."""

    def execute(self) -> None:
        """Answers why, and closes the connection."""
        refused, observer = self.request, self.channel.server.observer
        trace = observer.begin(refused.headers.get("X_REQUEST_ID", ""), refused.arrived)
        status, headers, body = problem_response(self._problem(refused.error), refused.path)
        received = refused.body_bytes_received
        observer.end(trace, refused.command, REFUSED, status, received, len(body))
        headers |= {REQUEST_ID: trace.request_id}
        self.status = f"{status} {HTTPStatus(status).phrase}"
        self.response_headers.extend((HEADERS | headers).items())
        self.content_length = len(body)
        self.channel.refused = True
        self.set_close_on_finish()
        # The answer to HEAD has a length and no content (RFC 9110, section 9.3.2).
        self.write(b"" if self.request.command == "HEAD" else body)

    def _problem(self, refusal: SightboxError | WaitressError) -> Json:
        if isinstance(refusal, SightboxError):
            return problem_to_json(refusal)
        if refusal.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return problem_to_json(body_too_large(self.channel.server.settings.max_body_mb))
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

    @property
    def in_work(self) -> bool:
        """Whether a task may change what it waits for."""
        return bool(self.requests or self.total_outbufs_len)

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

    def recv(self, buffer_size: int) -> bytes:
        """Reads from the socket; the rest of a body at once, for each read costs a round of poll.

        Never more than the rest: what follows it may be any number of small requests.
        """
        rest = getattr(getattr(self.request, "body_rcv", None), "remain", 0)
        data: bytes = super().recv(max(buffer_size, min(rest, BODY_READ_BYTES)))
        return data

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


class BufferedBytes:
    """How many bytes of bodies are in memory, over all connections.

    Walking the connections for each packet would take longer than reading it. So they are walked
    only when the last sum and all that has come since could be too much together.

    Args:
        channels: The connections, by file descriptor.
        limit: Most bytes.
    """

    def __init__(self, channels: Mapping[int, Channel], limit: int) -> None:
        self.limit = limit
        self._channels = channels
        self._at_most = 0

    def add(self, count: int) -> None:
        """Counts what has come in."""
        self._at_most += count

    def has_room(self) -> bool:
        """Tells whether the bodies are no larger than the limit."""
        if self._at_most > self.limit:
            self._at_most = self.count()
        return self._at_most <= self.limit

    def count(self) -> int:
        """Walks the connections."""
        return sum(channel.held for channel in list(self._channels.values()))
