"""What clients of gRPC may take of the server: the settings of HTTP, as far as gRPC can keep them.

What gRPC refuses by itself it refuses in words of its own, or without a word: it closes what
connects beyond the limit, and cancels what is sent too slowly.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from sightbox.errors import QueueFullError, RequestError
from sightbox.patience import ENDLESS, Patience
from sightbox.settings import Settings
from sightbox.web.api import body_limit_bytes
from sightbox.web.forms import BYTES_PER_KB
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
        asked: Its message; None for a probe, whose message is empty and is not waited for.
        patience: How long its client waits.
    """

    asked: Any
    patience: Patience = ENDLESS


class Admission:
    """Which calls are taken, and how many of them may have their requests in memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._most = most_calls(settings)
        self._calls = threading.Semaphore(self._most)
        self._requests = threading.Semaphore(
            max(2, int(settings.max_buffered_mb / settings.max_body_mb))
        )

    @contextmanager
    def admitted(self, requests: Iterator[Any], context: Any) -> Iterator[Call]:  # noqa: ANN401 - gRPC has no types
        """Takes a call and its request; it is counted for as long as the block runs.

        Raises:
            QueueFullError: There are as many calls as may be.
            DeadlineError: The time was over before there was room for the request.
            RequestError: It did not come whole.
        """
        if not self._calls.acquire(blocking=False):
            raise QueueFullError(
                f"{self._most} calls are worked on already, as many as may.",
                "Try again soon, or raise the setting http_threads.",
            )
        try:
            # What the client itself may have given as its deadline ends the call, too.
            patience = Patience.lasting(self._settings.max_wait, lambda: not context.is_active())
            with patience.holding(self._requests):
                yield Call(_receive(requests, context, self._settings.idle_seconds), patience)
        finally:
            self._calls.release()


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
