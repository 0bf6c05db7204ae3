"""How many bytes of requests and answers are in memory, over all connections."""

import threading
from collections.abc import Mapping
from typing import Protocol


class Holder(Protocol):
    """What holds bytes in memory: a connection."""

    @property
    def held(self) -> int:
        """How many bytes it holds."""


class BufferedBytes:
    """The sum of what all connections hold, and its limit.

    Walking the connections for each packet would take longer than reading it. So they are walked
    only when the last sum and all that has come since could be too much together.

    Args:
        channels: The connections, by file descriptor.
        limit: Most bytes.
    """

    def __init__(self, channels: Mapping[int, Holder], limit: int) -> None:
        self.limit = limit
        self._channels = channels
        self._at_most = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Counts what has come in, or is to go out."""
        with self._lock:
            self._at_most += count

    def has_room(self) -> bool:
        """Tells whether what is held is no larger than the limit."""
        with self._lock:
            if self._at_most > self.limit:
                self._at_most = self.count()
            return self._at_most <= self.limit

    def count(self) -> int:
        """Walks the connections."""
        return sum(channel.held for channel in list(self._channels.values()))
