"""Waiting for many sockets at a cost that depends on how many of them are in use."""

import selectors
import time
from typing import Any

from waitress import wasyncore


class Sockets(dict[int, Any]):
    """The map in which waitress keeps its sockets, and how the server waits for them.

    Waitress' own loop asks every socket in every round whether it wants to read or to write; with
    a thousand connections, idle or in the queue, that takes longer than the work. This one asks a
    connection again only after something has happened on it, and while a thread answers it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, int] = {}
        self._unsettled: set[int] = set()
        self._next_sweep = 0.0

    def __setitem__(self, descriptor: int, connection: Any) -> None:  # noqa: ANN401 - waitress has no types
        super().__setitem__(descriptor, connection)
        self._unsettled.add(descriptor)

    def __delitem__(self, descriptor: int) -> None:
        super().__delitem__(descriptor)
        self._unsettled.discard(descriptor)
        self._watch(descriptor, 0)

    def stir(self, descriptor: int) -> None:
        """Has a socket asked from now on, until it settles; any thread may call this."""
        self._unsettled.add(descriptor)

    def wait(self, seconds: float) -> None:
        """Waits until something happens, at most so long, and lets those sockets read and write."""
        self._ask(seconds)
        for key, events in self._selector.select(seconds):
            # One that was closed by an earlier one of this round is gone.
            if events & selectors.EVENT_READ and (connection := self.get(key.fd)) is not None:
                self._unsettled.add(key.fd)
                wasyncore.read(connection)
            if events & selectors.EVENT_WRITE and (connection := self.get(key.fd)) is not None:
                self._unsettled.add(key.fd)
                wasyncore.write(connection)

    def close(self) -> None:
        """Frees what was taken for waiting."""
        self._selector.close()

    def _ask(self, seconds: float) -> None:
        """Asks those whose wishes may have changed what to watch."""
        if time.monotonic() >= self._next_sweep:
            # Time alone may change what they wish.
            self._unsettled.update(self)
            self._next_sweep = time.monotonic() + seconds
        # `copy` runs no Python; a tuple's making may, and then another thread changes the set.
        for descriptor in self._unsettled.copy():
            # Before it is asked: who stirs it meanwhile is heard in the next round.
            self._unsettled.discard(descriptor)
            connection = self.get(descriptor)
            if connection is None:  # The listening one, when it was asked, has closed it.
                continue
            # Before its wishes: a task that ends in between has settled them.
            if getattr(connection, "unsettled", True):
                self._unsettled.add(descriptor)
            events = selectors.EVENT_READ if connection.readable() else 0
            if connection.writable():
                events |= selectors.EVENT_WRITE
            self._watch(descriptor, events)

    def _watch(self, descriptor: int, events: int) -> None:
        before = self._watched.pop(descriptor, 0)
        if events:
            self._watched[descriptor] = events
        if not before and events:
            self._selector.register(descriptor, events)
        elif before and not events:
            self._selector.unregister(descriptor)
        elif before != events:
            self._selector.modify(descriptor, events)
