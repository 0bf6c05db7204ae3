"""One request as it comes in, and why it may be refused before it is read to its end."""

import time
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError, split_uri
from waitress.utilities import Error as WaitressError
from waitress.utilities import RequestHeaderFieldsTooLarge

from sightbox.errors import QueueFullError, RequestError, SightboxError
from sightbox.settings import Settings
from sightbox.web.api import BYTES_PER_MB
from sightbox.web.forms import BYTES_PER_KB
from sightbox.web.guard import check_place, check_token

BODY_READ_BYTES = 256 * 1024
"""Most bytes of a body that are read at once: most photos come in one or two reads."""

LIVE_PATHS = frozenset({"/livez", "/healthz", "/v2/health/live"})
"""What is answered by the thread that reads the connections: it works as long as the server."""

READY_PATHS = frozenset({"/readyz", "/ping", "/v2/health/ready", "/metrics"})
"""What has a thread of its own, so that it waits for no picture's turn."""


class BusyError(SightboxError):
    """The requests and answers in memory are as many as may be; try again shortly."""

    code = "too_many_uploads"
    title = "The server is busy"
    status = 503


class HeadTooLargeError(RequestError):
    """A request's first line and headers are larger than the server accepts (RFC 6585)."""

    code = "head_too_large"
    title = "The request's head is too large"
    status = 431


class TooSlowError(RequestError):
    """A request did not come whole in time (RFC 9110, section 15.5.9)."""

    code = "request_too_slow"
    title = "The request took too long"
    status = 408


class Request(HTTPRequestParser):
    """A request as it comes in; one that cannot be answered is refused before its body is read.

    Attributes:
        error: Why it is refused.
        whole: Whether it was read to its end, so that the connection can go on.
        came: When that was, on the server's clock.
        arrived: The same on the clock that stages are measured with.
    """

    error: SightboxError | WaitressError | None = None
    whole = False
    came = 0.0
    arrived: float | None = None
    path = ""
    command = ""

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
        self.whole = self.completed and self.error is None
        if self.headers_finished and self.error is None:
            try:
                if not knew_head:
                    self._check_head()
                if self.body_rcv is not None and knew_head:
                    self._check_body()
                if self.whole:
                    self._check_room()
            except SightboxError as error:
                # It knows this frame, and this request would know it: they would stay.
                self.refuse(error.with_traceback(None))
        if self.error is not None:
            self.refuse(self.error)
        if self.completed:
            self.came, self.arrived = self._server.clock(), time.perf_counter()
            # Or waitress would ask for a body that is refused or that does not exist.
            self.expect_continue = False
        return consumed

    def refuse(self, error: SightboxError | WaitressError) -> None:
        """Ends it here: it is answered with an error."""
        self.error = error
        self.completed = True
        self.close()

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
        if self.body_rcv is None:
            return
        settings: Settings = self._server.settings
        check_place(settings, self.command, self._header)
        if settings.token is not None:
            check_token(self._header("Authorization") or "", settings.token)
        # A small body is cheaper to read than to refuse: that would cost the connection.
        if self.chunked or self.content_length > BODY_READ_BYTES:
            self._check_room()

    def _check_body(self) -> None:
        limit = self._server.settings.max_header_kb
        if self.chunked and (
            len(self.body_rcv.control_line) + len(self.body_rcv.trailer) > limit * BYTES_PER_KB
        ):
            # Waitress would search an endless line anew with each packet.
            raise RequestError(
                f"A line between the chunks is too long: more than {limit:g} kB.",
                "Send shorter ones, or raise the setting max_header_kb.",
            )
        if not self.completed and not self._server.buffered.has_room():
            megabytes = self._server.buffered.limit / BYTES_PER_MB
            raise BusyError(
                f"The server holds {megabytes:g} MB of requests and answers, as many as it may.",
                "Try again soon, or raise the setting max_buffered_mb.",
            )

    def _check_room(self) -> None:
        limit = self._server.settings.queue_size
        if self.path not in LIVE_PATHS | READY_PATHS and self._server.waiting >= limit:
            raise QueueFullError(
                f"{limit} requests wait already, as many as may.",
                "Try again soon, or raise the setting queue_size.",
            )


def _path_of(head: bytes) -> str:
    """Returns the path that a head asks for, however much of it came; "" when nobody can read it.

    Its target stands between the first two spaces (RFC 9112, section 3).
    """
    _, _, rest = head.lstrip().partition(b"\r\n")[0].partition(b" ")
    try:
        return str(split_uri(rest.partition(b" ")[0])[2])
    except (ParsingError, ValueError):
        return ""
