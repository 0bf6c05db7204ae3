"""The server: waitress, with problem details for its own errors, and an orderly stop.

Waitress buffers whole requests before a thread touches them, so that stalled uploads hold a socket
and not a thread; see the measurements in docs/architecture.md.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from flask import Flask
from waitress import wasyncore

from sightbox.settings import Settings
from sightbox.web.accepting import Acceptor
from sightbox.web.guard import check_exposure
from sightbox.web.listening import listen
from sightbox.web.polling import Sockets
from sightbox.web.service import Service

POLL_SECONDS = 1.0
"""How often connections are looked at even when nothing happens on them."""

SWITCH_SECONDS = 0.0005
"""After how long a thread lets another one run Python that wants to. Python's own 5 ms let an
engine stand idle that needs a tenth of a millisecond to take its next batch: 5 % fewer answers."""

logger = logging.getLogger(__name__)


class Server:
    """Listens from its making on; `run` serves until `stop`.

    Args:
        app: The application of `create_app`.
        settings: Address, limits and grace period.
        clock: Tells the time in seconds; it never goes back.

    Raises:
        SettingsError: The address cannot be listened on, or may not be without a token.
    """

    def __init__(
        self, app: Flask, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        check_exposure(settings)
        service: Service = app.extensions["sightbox"]
        self._grace = settings.grace
        self._draining = service.draining
        self._clock = clock
        self._benchmarks = service.benchmarks
        self._sockets = Sockets()
        self._socket = listen(settings.host, settings.port)
        self._waitress = Acceptor(app, settings, self._sockets, self._socket, self._draining, clock)

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
        usual = sys.getswitchinterval()
        sys.setswitchinterval(min(usual, SWITCH_SECONDS))
        try:
            while not self._draining.is_set():
                self._sockets.wait(POLL_SECONDS)
            return self._drain()
        finally:
            sys.setswitchinterval(usual)

    def stop(self) -> None:
        """Asks `run` to come to an end; may be called from a signal handler or any thread."""
        self._draining.set()
        self._waitress.pull_trigger()

    def _drain(self) -> bool:
        self._waitress.accepting = False
        self._waitress.del_channel(self._sockets)
        self._socket.close()
        # A run that nobody will see takes the cores from what is still to be answered.
        self._benchmarks.close()
        deadline = time.monotonic() + self._grace
        while self._busy() and time.monotonic() < deadline:
            self._sockets.wait(POLL_SECONDS)
            for channel in tuple(self._waitress.active_channels.values()):
                channel.end_stalled(self._clock())
        unanswered = self._busy()
        if unanswered:
            logger.warning("%d requests were not answered in time.", unanswered)
        self._waitress.shutdown(0 if unanswered else 1)
        wasyncore.close_all(self._sockets)
        self._sockets.close()
        return not unanswered

    def _busy(self) -> int:
        # What has been sent but not read yet counts: its client believes it to be accepted.
        channels = list(self._waitress.active_channels.values())
        return sum(not (channel.idle or channel.refused) for channel in channels)


def stop_on_signals(server: Server) -> None:
    """Makes SIGTERM and Ctrl-C stop the server in order; a second one ends at once."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        signal.signal(number, signal.SIG_DFL)
        server.stop()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
