"""The server: waitress, with problem details for its own errors, and an orderly stop.

Waitress buffers whole requests before a thread touches them, so that stalled uploads hold a socket
and not a thread; see the measurements in docs/architecture.md.
"""

import logging
import signal
import threading
import time
from types import FrameType

from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

from sightbox.settings import Settings
from sightbox.web.api import BYTES_PER_MB, body_limit_bytes
from sightbox.web.connections import MAX_HEADER_BYTES, BufferedBytes, Channel
from sightbox.web.guard import check_exposure
from sightbox.web.listening import listen
from sightbox.web.observing import observer_of
from sightbox.web.polling import Sockets
from sightbox.web.service import Service

MAX_BUFFERED_MB = 256
"""Most megabytes of request bodies in memory, over all connections: eight of the largest default
size. A larger `max_body_mb` raises it to two of the largest."""

STALLED_SECONDS = 20
"""How long a connection may be silent before it is closed; uploads over bad links pause less."""

CLEANUP_SECONDS = 5
"""How often silent connections are looked for."""

POLL_SECONDS = 1.0
"""How often connections are looked at even when nothing happens on them."""

MAX_CONNECTIONS = 1_024
"""Most open connections; an idle one costs a descriptor and little memory."""

OUTPUT_BUFFER_BYTES = 64 * 1024**2
"""Output above this would go to a temporary file; no answer comes near."""

logger = logging.getLogger(__name__)


class Server:
    """Listens from its making on; `run` serves until `stop`.

    Args:
        app: The application of `create_app`.
        settings: Address, limits and grace period.

    Raises:
        SettingsError: The address cannot be listened on, or may not be without a token.
    """

    def __init__(self, app: Flask, settings: Settings) -> None:
        check_exposure(settings)
        service: Service = app.extensions["sightbox"]
        self._grace = settings.grace
        self._draining = service.draining
        self._sockets = Sockets()
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
            ident=None,
        )
        self._waitress.channel_class = Channel
        self._waitress.draining = self._draining
        self._waitress.settings = settings
        self._waitress.buffered = BufferedBytes(
            self._waitress.active_channels,
            max(MAX_BUFFERED_MB * BYTES_PER_MB, 2 * body_limit_bytes(settings.max_body_mb)),
        )
        self._waitress.observer = observer_of(app)
        self._waitress.observer.watch(self._waitress.active_channels, self._waitress.buffered)

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
            self._sockets.wait(POLL_SECONDS)
        return self._drain()

    def stop(self) -> None:
        """Asks `run` to come to an end; may be called from a signal handler or any thread."""
        self._draining.set()
        self._waitress.pull_trigger()

    def _drain(self) -> bool:
        self._waitress.accepting = False
        self._waitress.del_channel(self._sockets)
        self._socket.close()
        deadline = time.monotonic() + self._grace
        while self._busy() and time.monotonic() < deadline:
            self._sockets.wait(POLL_SECONDS)
        unanswered = self._busy()
        if unanswered:
            logger.warning("%d requests were not answered in time.", unanswered)
        self._waitress.task_dispatcher.shutdown(timeout=0 if unanswered else 1)
        wasyncore.close_all(self._sockets)
        self._sockets.close()
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
