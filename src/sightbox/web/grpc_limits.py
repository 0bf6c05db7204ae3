"""What clients of gRPC may take of the server: the settings of HTTP, as far as gRPC can keep them.

What gRPC refuses by itself it refuses in words of its own, or without a word: it closes what
connects beyond the limit, and cancels what is sent too slowly.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc

from sightbox.errors import QueueFullError, RequestError
from sightbox.patience import ENDLESS, Patience
from sightbox.settings import Settings
from sightbox.web.api import BYTES_PER_MB, body_limit_bytes
from sightbox.web.forms import BYTES_PER_KB
from sightbox.web.guard import is_loopback
from sightbox.web.listening import affordable_connections

CALLS_PER_THREAD = 2
"""Calls at once for each of `http_threads`."""

STREAMS_PER_CALL = 4
"""Streams that a connection may open for each of those calls; gRPC has 2 ** 31 by itself."""

SPARE_THREADS = 8
"""What answers the probes and tells calls that they are too many; more are refused by gRPC."""


def most_calls(settings: Settings) -> int:
    """Returns how many calls may be worked on at once, those that wait for their turns included."""
    return CALLS_PER_THREAD * settings.http_threads


def channel_options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the limits that gRPC keeps by itself."""
    head = int(settings.max_header_kb * BYTES_PER_KB)
    idle, whole = (int(1000 * time) for time in (settings.idle_seconds, settings.request_seconds))
    return [
        ("grpc.max_receive_message_length", body_limit_bytes(settings.max_body_mb)),
        ("grpc.max_metadata_size", head),
        # Between the two it would refuse at random.
        ("grpc.absolute_max_metadata_size", head),
        # The limit of a message is that of its compressed form: a bomb would be inflated.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.max_allowed_incoming_connections", affordable_connections(settings)),
        # So many that it only bounds what one connection can open and leave: gRPC still counts
        # calls that are over, and with fewer it would refuse a client that keeps to the limit.
        ("grpc.max_concurrent_streams", STREAMS_PER_CALL * most_calls(settings)),
        ("grpc.server_handshake_timeout_ms", idle),
        ("grpc.max_connection_idle_ms", idle),
        # Then a client is told to connect anew, which it does by itself, and what it does not
        # fetch of its answers is dropped.
        ("grpc.max_connection_age_ms", whole),
        ("grpc.max_connection_age_grace_ms", whole),
        # Or a second server would take a part of the calls.
        ("grpc.so_reuseport", 0),
    ]


@dataclass(frozen=True)
class Call:
    """A call that is being answered.

    Attributes:
        asked: Its message; None where it is empty, and is not waited for.
        patience: How long its client waits.
    """

    asked: Any
    patience: Patience = ENDLESS


@dataclass(eq=False)
class _Place:
    """What a call takes: its client, its context, and its bytes; None before they have come."""

    client: str
    context: Any
    size: int | None = None


class Admission:
    """Which calls are taken, and how many of them may have their requests in memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = most_calls(settings)
        self._largest = body_limit_bytes(settings.max_body_mb)
        self._room = max(2 * self._largest, int(settings.max_buffered_mb * BYTES_PER_MB))
        self._lock = threading.Lock()
        self._places: list[_Place] = []

    @contextmanager
    def admitted(self, requests: Iterator[Any], context: Any) -> Iterator[Call]:  # noqa: ANN401 - gRPC has no types
        """Takes a call and its request; it is counted for as long as the block runs.

        Raises:
            QueueFullError: There is no room for it.
            RequestError: It did not come whole.
        """
        place = _Place(_client(context.peer()), context)
        with self._lock:
            if (full := self._full()) and not self._make_room(place.client):
                raise QueueFullError(
                    f"{len(self._places)} calls are worked on already, as many as may.",
                    f"Try again soon, or raise the setting {full}.",
                )
            self._places.append(place)
        try:
            # What the client itself may have given as its deadline ends the call, too.
            patience = Patience.lasting(self._settings.max_wait, lambda: not context.is_active())
            asked = _receive(requests, context, self._settings.idle_seconds)
            place.size = asked.ByteSize()
            yield Call(asked, patience)
        finally:
            with self._lock:
                self._places = [each for each in self._places if each is not place]

    def _full(self) -> str | None:
        """Returns the setting that allows no more; what has not come may be as large as any."""
        if len(self._places) >= self._most:
            return "http_threads"
        sizes = (self._largest if each.size is None else each.size for each in self._places)
        return "max_buffered_mb" if sum(sizes) + self._largest > self._room else None

    def _make_room(self, client: str) -> bool:
        """Ends the oldest unsent call of whoever has most, if `client` has no more then."""
        unsent = [each for each in self._places if each.size is None]
        counts = Counter(each.client for each in unsent)
        greedy = max(unsent, key=lambda each: counts[each.client], default=None)
        if greedy is None or counts[greedy.client] <= counts[client] + 1:
            return False
        self._places.remove(greedy)
        greedy.context.cancel()
        return True


def _client(peer: str) -> str:
    """Returns whom a connection belongs to: its address, or itself where it is of this machine."""
    kind, _, rest = peer.partition(":")
    host = unquote(rest.rpartition(":")[0]).strip("[]")
    return host if kind in {"ipv4", "ipv6"} and not is_loopback(host) else peer


def _receive(requests: Iterator[Any], context: Any, seconds: float) -> Any:  # noqa: ANN401 - likewise
    """Returns the request of a call, which is cancelled when it does not arrive in time."""
    watch = threading.Timer(seconds, context.cancel)
    watch.start()
    try:
        return next(requests)
    except (StopIteration, grpc.RpcError) as error:
        raise RequestError("The call has no request, or not a whole one.") from error
    finally:
        watch.cancel()
