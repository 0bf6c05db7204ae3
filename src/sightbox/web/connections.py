"""One connection: what waitress reads from it, when it refuses, and how it is closed.

Waitress knows neither problem details nor limits over all connections; these are its own classes
with that added. A connection has one request at a time: what a client sends behind it waits as
bytes until the answer has gone out, so that who reads no answers holds one of them and no thread.
"""

import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error as WaitressError

from sightbox.errors import ClosedError, DeadlineError, SightboxError
from sightbox.patience import Patience
from sightbox.schema import Json, problem_to_json, status_to_json
from sightbox.web.guard import HEADERS
from sightbox.web.observing import ARRIVED, REFUSED, REQUEST_ID
from sightbox.web.problems import body_too_large, problem_response
from sightbox.web.receiving import (
    BODY_READ_BYTES,
    LIVE_PATHS,
    READY_PATHS,
    HeadTooLargeError,
    Request,
    TooSlowError,
)
from sightbox.web.service import PATIENCE

PAUSE_SECONDS = 1.0
"""How long a client may pause within a request or its answer while the server stops."""

LINGER_BYTES = 256 * 1024**2
"""Most bytes that a refused client may still send before it is cut off."""


class Task(WSGITask):
    """A request; while the server stops, its connection closes with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Returns what the application knows of the request."""
        environment: dict[str, Any] = super().get_environment()
        server = self.channel.server
        left = server.settings.max_wait - (server.clock() - self.request.came)
        return environment | {
            PATIENCE: Patience.lasting(left, self.channel.is_abandoned),
            ARRIVED: self.request.arrived,
        }

    def execute(self) -> None:
        """Runs the application."""
        if self.channel.server.draining.is_set():
            self.set_close_on_finish()
        super().execute()

    def set_close_on_finish(self) -> None:
        """Has the connection closed behind the answer.

        Waitress wants that for each answer without a body too, such as 304, as if only a length
        told where that ends (RFC 9112, section 6.3).
        """
        stops = self.channel.server.draining.is_set()
        asked = self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or self.version != "1.1" or asked or stops:
            super().set_close_on_finish()


class ProblemTask(ErrorTask):
    """A request that is refused before the application sees it, such as one that is too large."""

    def execute(self) -> None:
        """Answers why, and closes the connection if more of the request may come."""
        refused, observer = self.request, self.channel.server.observer
        trace = observer.begin(refused.headers.get("X_REQUEST_ID", ""), refused.arrived)
        status, headers, body = problem_response(self._problem(refused.error), refused.path)
        received = refused.body_bytes_received
        observer.end(trace, refused.command, REFUSED, status, received, len(body))
        headers |= {REQUEST_ID: trace.request_id}
        self.status = f"{status} {HTTPStatus(status).phrase}"
        self.response_headers.extend((HEADERS | headers).items())
        self.content_length = len(body)
        if not refused.whole:
            self.channel.refused = True
            self.set_close_on_finish()
        elif self.channel.server.draining.is_set():
            self.set_close_on_finish()
        # The answer to HEAD has a length and no content (RFC 9110, section 9.3.2).
        self.write(b"" if self.request.command == "HEAD" else body)

    def _problem(self, refusal: SightboxError | WaitressError) -> Json:
        if isinstance(refusal, SightboxError):
            return problem_to_json(refusal)
        if refusal.code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return problem_to_json(body_too_large(self.channel.server.settings.max_body_mb))
        if refusal.code == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            limit = self.channel.server.settings.max_header_kb
            return problem_to_json(
                HeadTooLargeError(
                    f"The request's head is larger than {limit:g} kB.",
                    "Send fewer or smaller headers, or raise the setting max_header_kb.",
                )
            )
        return status_to_json(refusal.code, f"{refusal.body.rstrip('.')}.")


class Channel(HTTPChannel):
    """A connection.

    One that is closed before the request was read whole lingers: it throws away what still
    comes, so that the client can finish sending and then reads why it was refused. Closed at
    once, the system would reset the connection and the answer would be lost (RFC 9112, 9.6).

    Attributes:
        touched: When a byte came or went last, on the server's clock.
    """

    task_class = Task
    error_task_class = ProblemTask
    refused = False
    request: Request | None = None
    sent_continue = False
    _ahead = b""
    _answering = False
    _since = 0.0
    _discarded: int | None = None

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:  # noqa: A002, ANN401 - waitress' signature
        self.touched = server.clock()
        super().__init__(server, sock, addr, adj, map=map)

    def parser_class(self, adj: Any) -> Request:  # noqa: ANN401 - waitress has no types
        """Returns a request that is yet to come; waitress has a class in this place."""
        return Request(adj, self.server)

    @property
    def held(self) -> int:
        """How many bytes of its requests' bodies and of its answers are in memory."""
        requests: list[Request] = [*self.requests, *filter(None, [self.request])]
        answers: int = self.total_outbufs_len
        return sum(request.held for request in requests) + answers

    @property
    def busy(self) -> bool:
        """Whether a request is being received or worked on, or an answer being sent."""
        return bool(self.in_work or self.request is not None)

    @property
    def in_work(self) -> bool:
        """Whether a request waits for its answer, or an answer or a request for its turn."""
        return bool(self.requests or self.total_outbufs_len or self._ahead)

    @property
    def unsettled(self) -> bool:
        """Whether what it waits for may change though nothing happens on the socket."""
        return bool(self.total_outbufs_len or (self._answering and self.requests))

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it: nothing was asked that is not answered."""
        return not (self.busy or self.refused) and self._peek() != b"?"

    def is_abandoned(self) -> bool:
        """Tells whether the client has closed the connection, or its half of it.

        Waitress does not look while a request is worked on: a channel that it closes would no
        longer count what it holds.
        """
        return self._peek() == b""

    def _peek(self) -> bytes | None:
        """Returns "?" when a byte waits to be read, "" at the end, and None in between."""
        try:
            # Waitress' sockets never wait.
            return self.socket.recv(1, socket.MSG_PEEK) and b"?"
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def recv(self, buffer_size: int) -> bytes:
        """Reads from the socket; the rest of a body at once, for each read costs a round of poll.

        Never more than the rest: what follows it may be any number of small requests.
        """
        self.touched = self.server.clock()
        rest = getattr(getattr(self.request, "body_rcv", None), "remain", 0)
        data: bytes = super().recv(max(buffer_size, min(rest, BODY_READ_BYTES)))
        return data

    def send(self, data: bytes, do_close: bool = True) -> int:
        """Writes to the socket as much as it takes."""
        now = self.server.clock()
        sent: int = super().send(data, do_close)
        if sent:
            self.touched = now
        return sent

    def write_soon(self, data: Any) -> int:  # noqa: ANN401 - bytes, or waitress' own buffer
        """Puts a part of an answer behind what is to be sent."""
        self._answering = True
        self._map.stir(self._fileno)
        count: int = super().write_soon(data)
        self.server.buffered.add(count)
        return count

    def received(self, data: bytes) -> bool:
        """Takes in what has come, up to the end of a request."""
        self._ahead += data
        while self._ahead and not self._engaged():
            if self._take():
                # The others' turn: it may have sent hundreds.
                break
        return True

    def readable(self) -> bool:
        """Whether to read."""
        return self._discarded is not None or not (self._engaged() or self._ahead)

    def writable(self) -> bool:
        """Whether to write, or to go on with what came before an answer was out."""
        return bool(super().writable() or (self._ahead and not self.requests))

    def handle_read(self) -> None:
        """Reads, or throws away what a refused client still sends."""
        if self._discarded is None:
            super().handle_read()
            return
        # At the end of the stream `recv` closes the connection itself.
        self._discarded += len(self.recv(self.adj.recv_bytes))
        if self._discarded > LINGER_BYTES:
            self.handle_close()

    def handle_write(self) -> None:
        """Writes; as soon as the answer is out, goes on with what came meanwhile."""
        super().handle_write()
        if self.connected and self._discarded is None:
            self.received(b"")

    def service(self) -> None:
        """Answers the request, unless its time is over before it was its turn."""
        request, limit = self.requests[0], self.server.settings.max_wait
        if request.error is None and self.server.clock() - request.came > limit:
            request.error = DeadlineError(
                f"The request waited longer than {limit:g} s for its turn.",
                "Try again soon, or raise the setting max_wait.",
            )
        super().service()
        self._since = self.server.clock()
        if not self._answering:
            # Its client has gone: waitress told the server before this was to be seen.
            self._map.stir(self._fileno)
            self.server.pull_trigger()

    def refuse(self, error: SightboxError) -> None:
        """Answers with an error whatever is being sent, and ends the connection."""
        request = self.request or self.parser_class(self.adj)
        self.request = None
        request.version = "1.1"
        request.refuse(error)
        self._begin(request)

    def end_stalled(self, now: float) -> None:
        """Waits no more for a client that pauses: the server stops, and others may be asked."""
        if now - self.touched <= PAUSE_SECONDS or self.requests:
            return
        if self.request is not None:
            self.refuse(ClosedError("The server is stopping.", "Send it again shortly."))
        elif self.total_outbufs_len:
            self.handle_close()

    def check_time(self, now: float) -> None:
        """Ends the connection if its client was silent, or slow, for too long.

        While a request is worked on, its client has nothing to do.
        """
        if self.requests:
            return
        settings = self.server.settings
        silent = now - self.touched > settings.idle_seconds
        slow = now - self._since > settings.request_seconds
        if self.request is not None and (silent or slow):
            name = "idle_seconds" if silent else "request_seconds"
            did = "paused for" if silent else "took"
            self.refuse(
                TooSlowError(
                    f"The request {did} more than {getattr(settings, name):g} s.",
                    f"Send it faster, or raise the setting {name}.",
                )
            )
        elif silent or (slow and (self.in_work or self._discarded is not None)):
            self._discarded = self._discarded or 0
            self.handle_close()

    def handle_close(self) -> None:
        """Closes the connection; a refused one half-way first."""
        self._ahead = b""
        if self.refused and self.connected and self._discarded is None:
            self._discarded = 0
            self.will_close = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    def del_channel(self, map: Any = None) -> None:  # noqa: A002, ANN401 - waitress' signature
        """Tells the server that this connection is over."""
        super().del_channel(map)
        self.server.forget(self)

    def _engaged(self) -> bool:
        """Tells whether a request is worked on, its answer is being sent, or all is over."""
        return not super().readable()

    def _take(self) -> bool:
        """Gives a request what has come, and tells whether it is whole."""
        if self.request is None:
            self.request = self.parser_class(self.adj)
            self._since = self.server.clock()
        request = self.request
        consumed = request.received(self._ahead)
        self._ahead = self._ahead[consumed:]
        if request.expect_continue and request.headers_finished and not self.sent_continue:
            self.send_continue()
        if not request.completed:
            return False
        self.sent_continue = False
        self.request = None
        if not request.empty:
            self._begin(request)
        return not request.empty

    def _begin(self, request: Request) -> None:
        """Has a request answered: a refusal and a sign of life at once, by this thread."""
        # Waitress takes the one before off the list and then looks whether another one waits, which
        # it would have answered too: twice at the same time, if this came in between.
        with self.requests_lock:
            self._answering = False
            self.requests.append(request)
        if request.error is not None or request.path in LIVE_PATHS:
            self.service()
        elif request.path in READY_PATHS:
            self.server.add_probe(self)
        else:
            self.server.add_task(self)
