"""Who gets a connection, how long it may be kept, and who works on its requests."""

import gc
import logging
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from sightbox.errors import SightboxError
from sightbox.machine import give_back_memory
from sightbox.settings import Settings
from sightbox.web.api import BYTES_PER_MB, body_limit_bytes
from sightbox.web.buffered import BufferedBytes
from sightbox.web.connections import Channel
from sightbox.web.forms import BYTES_PER_KB
from sightbox.web.guard import is_loopback
from sightbox.web.listening import REFUSALS, affordable_connections
from sightbox.web.observing import observer_of
from sightbox.web.polling import Sockets

CHECK_SECONDS = 1.0
"""How often silent and slow connections are looked for."""

OUTPUT_BUFFER_BYTES = 64 * 1024**2
"""Output above this would go to a temporary file; no answer comes near."""

logger = logging.getLogger(__name__)


class TooManyConnectionsError(SightboxError):
    """As many connections are in use as may be; try again shortly."""

    code = "too_many_connections"
    title = "The server is busy"
    status = 503


class TooManyOfYoursError(TooManyConnectionsError):
    """One address uses as many connections as it may (RFC 6585, section 4)."""

    code = "too_many_from_one_address"
    title = "Too many connections from one address"
    status = 429


class Acceptor(TcpWSGIServer):
    """Waitress' server with limits on its connections.

    Args:
        app: What answers.
        settings: The limits.
        sockets: Where the sockets are kept.
        listening: The socket that listens.
        draining: Set when the server stops.
        clock: Tells the time in seconds; it never goes back, as the time of day may.

    Attributes:
        clock: See above.
        buffered: What requests and answers take in memory.
        observer: What counts the requests.
    """

    channel_class = Channel

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        sockets: Sockets,
        listening: socket.socket,
        draining: threading.Event,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.draining = draining
        self.clock = clock
        self.max_connections = affordable_connections(settings)
        if self.max_connections < settings.max_connections:
            logger.warning(
                "The system allows %d connections, the setting max_connections wants %d: raise the "
                "limit of open files (ulimit -n).",
                self.max_connections,
                settings.max_connections,
            )
        self._next_check = 0.0
        self._worked = False
        self._clients: Counter[str] = Counter()
        self._probes = ThreadedTaskDispatcher()
        self._probes.set_thread_count(1)
        workers = ThreadedTaskDispatcher()
        workers.set_thread_count(settings.http_threads)
        super().__init__(
            app,
            sockets,
            _sock=listening,
            dispatcher=workers,
            adj=_adjustments(settings, listening),
            sockinfo=(listening.family, listening.type, listening.proto, listening.getsockname()),
            bind_socket=False,
        )
        largest = body_limit_bytes(settings.max_body_mb)
        self.buffered = BufferedBytes(
            self.active_channels, max(int(settings.max_buffered_mb * BYTES_PER_MB), 2 * largest)
        )
        self.observer = observer_of(app)
        self.observer.watch(self.active_channels, self.buffered)

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread, without those that a free one is about to take."""
        pool = self.task_dispatcher
        free: int = len(pool.threads) - pool.stop_count - pool.active_count
        return max(0, len(pool.queue) - free)

    def add_task(self, task: Channel) -> None:
        """Has a request answered as soon as a thread is free."""
        self._worked = True
        super().add_task(task)

    def add_probe(self, channel: Channel) -> None:
        """Has a request answered by the thread that pictures cannot keep busy."""
        self._probes.add_task(channel)

    def forget(self, channel: Channel) -> None:
        """Counts a connection out that is over."""
        self._clients[channel.addr[0]] -= 1
        if not self._clients[channel.addr[0]]:
            del self._clients[channel.addr[0]]

    def readable(self) -> bool:
        """Whether to accept; waitress looks after its connections here."""
        now = self.clock()
        if now >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self.maintenance(now)
        return bool(self.accepting)

    def maintenance(self, now: float) -> None:
        """Ends the connections that are silent or slow; after work, gives memory back.

        Args:
            now: What the clock shows.
        """
        channels = tuple(self.active_channels.values())
        for channel in channels:
            channel.check_time(now)
        if self._worked and not any(channel.busy for channel in channels):
            self._worked = False
            # An error knows the frames that it passed, and these know the pictures they worked on.
            # Where that is a circle, they stay until the collector comes by.
            gc.collect()
            give_back_memory()

    def handle_accept(self) -> None:
        """Accepts a connection, if there is or can be made room for it."""
        known = len(self.active_channels)
        super().handle_accept()
        if len(self.active_channels) > known:
            self._admit(next(reversed(self.active_channels.values())))

    def shutdown(self, seconds: float) -> None:
        """Ends the threads, and waits for them at most so long."""
        self.task_dispatcher.shutdown(timeout=seconds)
        self._probes.shutdown(timeout=seconds)

    def _admit(self, channel: Channel) -> None:
        """Makes room for a new connection, or refuses it."""
        address = channel.addr[0]
        self._clients[address] += 1
        others = [each for each in self.active_channels.values() if each is not channel]
        own = self._most_of(address)
        if self._clients[address] > own and not _close_idle(
            each for each in others if each.addr[0] == address
        ):
            self._refuse(
                channel,
                TooManyOfYoursError(
                    f"{own} connections come from {address} already, as many as may.",
                    "Use them again, or raise the setting max_connections_per_client.",
                ),
            )
        elif len(self.active_channels) > self.max_connections and not _close_idle(others):
            self._refuse(
                channel,
                TooManyConnectionsError(
                    f"{self.max_connections} connections are in use, as many as may.",
                    "Try again soon, or raise the setting max_connections.",
                ),
            )

    def _most_of(self, address: str) -> int:
        """Returns how many connections an address may have."""
        if self.settings.max_connections_per_client is not None:
            return self.settings.max_connections_per_client
        # What comes from this machine may come through a proxy on it, from anyone.
        return sys.maxsize if is_loopback(address) else max(1, self.max_connections // 4)

    def _refuse(self, channel: Channel, error: SightboxError) -> None:
        if len(self.active_channels) > self.max_connections + REFUSALS:
            channel.handle_close()
        else:
            channel.refuse(error)


def _close_idle(channels: Iterable[Channel]) -> bool:
    """Closes the connection that is idle for longest, and tells whether there was one."""
    for channel in sorted(channels, key=attrgetter("touched")):
        if channel.idle:
            channel.handle_close()
            return True
    return False


def _adjustments(settings: Settings, listening: socket.socket) -> Any:  # noqa: ANN401 - waitress has no types
    largest = body_limit_bytes(settings.max_body_mb)
    return Adjustments(
        sockets=[listening],
        # Waitress refuses what reaches these numbers, the body before it was read.
        max_request_body_size=largest + 1,
        max_request_header_size=int(settings.max_header_kb * BYTES_PER_KB) + 1,
        # Uploads are kept in memory: they never touch the disk.
        inbuf_overflow=2 * largest,
        outbuf_overflow=OUTPUT_BUFFER_BYTES,
        # A client that goes away is no error of the server's.
        log_socket_errors=False,
        ident=None,
    )
