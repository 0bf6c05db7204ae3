"""The decode budget: how much may be decoded at the same time, and whose turn it is.

A decoded picture takes memory for each of its pixels, whatever its file weighs. So turns are given
by megapixels, as the header tells them, and in the order of asking: a large picture waits until its
own fit, and those behind it wait too, or small ones would starve it.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sightbox.errors import DeadlineError, RequestError
from sightbox.patience import ENDLESS, Patience

Permit = Callable[[int], None]
"""Waits until a picture of so many pixels may be decoded; raises `DeadlineError`."""


_WAIT_LONGER = "Try again in a moment; the settings are max_wait and decode_megapixels."


class DecodeBudget:
    """Room for pictures that are being decoded. Thread-safe; may be shared.

    Args:
        pictures: Most pictures at the same time: many more than cores would only take the
            processor from the engine.
        megapixels: Most megapixels of them together. A picture that has more is decoded alone.

    Raises:
        RequestError: There is no room for anything.
    """

    def __init__(self, pictures: int, megapixels: float) -> None:
        if pictures < 1 or not megapixels > 0:
            raise RequestError(f"Nothing can be decoded within {pictures} and {megapixels} MP.")
        self.pictures = pictures
        self.pixels = max(1, int(megapixels * 1e6))
        self._places = _Room(self.pictures)
        self._memory = _Room(self.pixels)

    @property
    def waiting(self) -> int:
        """Number of pictures that wait, for a place or for their pixels."""
        return self._places.waiting + self._memory.waiting

    @contextmanager
    def turn(self, patience: Patience = ENDLESS) -> Iterator[Permit]:
        """Waits for a place, in which a header may be read, and gives the permit to decode.

        Args:
            patience: How long to wait, for the place and for the pixels together.

        Raises:
            DeadlineError: The time was over before the turn came, or nobody wants it any more.
        """
        taken = 0

        def permit(pixels: int) -> None:
            nonlocal taken
            wanted = min(pixels, self.pixels)
            self._memory.take(wanted, patience)
            taken += wanted

        # Once, not for each room: asking whether a client has left takes a call of the system.
        patience.check(_WAIT_LONGER)
        self._places.take(1, patience)
        try:
            yield permit
        finally:
            if taken:
                self._memory.give_back(taken)
            self._places.give_back(1)


@dataclass(eq=False)
class _Turn:
    amount: int
    come: threading.Event = field(default_factory=threading.Event)


class _Room:
    """So much of something, lent in the order of asking."""

    def __init__(self, amount: int) -> None:
        self._free = amount
        self._waiting: deque[_Turn] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, amount: int, patience: Patience) -> None:
        with self._lock:
            if not self._waiting and amount <= self._free:
                self._free -= amount
                return
            turn = _Turn(amount)
            self._waiting.append(turn)
        try:
            self._wait(turn, patience)
        except BaseException:
            # Whoever stops waiting, by Ctrl-C too, must not keep a turn that nobody can give back.
            self._give_up(turn)
            raise

    def give_back(self, amount: int) -> None:
        with self._lock:
            self._free += amount
            self._lend()

    def _wait(self, turn: _Turn, patience: Patience) -> None:
        if not turn.come.wait(patience.seconds):
            raise DeadlineError(
                "The time was over before the picture could be decoded.", _WAIT_LONGER
            )
        patience.check(_WAIT_LONGER)

    def _give_up(self, turn: _Turn) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._free += turn.amount
            # Those behind may fit now.
            self._lend()

    def _lend(self) -> None:
        while self._waiting and self._waiting[0].amount <= self._free:
            turn = self._waiting.popleft()
            self._free -= turn.amount
            turn.come.set()
