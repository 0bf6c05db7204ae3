"""How long somebody waits for an answer, wherever it is waited for.

A request has one `Patience`, made when it arrives: the waits for a thread, for decoding and for
the engine all end at the same moment, and none goes on for a client that has left.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from sightbox.errors import DeadlineError

Abandoned = Callable[[], bool]
"""Tells whether nobody wants the answer any more."""

HINT = "Try again soon, or raise the setting max_wait."


def never() -> bool:
    """Says that somebody waits: what is not told otherwise."""
    return False


@dataclass(frozen=True)
class Patience:
    """How long somebody waits.

    Attributes:
        deadline: When the wait is over, by `time.monotonic`; None waits without end.
        abandoned: Tells whether nobody wants the answer any more; asked before each piece of work.
    """

    deadline: float | None = None
    abandoned: Abandoned = never

    @classmethod
    def lasting(cls, seconds: float | None, abandoned: Abandoned = never) -> Self:
        """Returns one that lasts so long from now on; without end when None."""
        return cls(None if seconds is None else time.monotonic() + seconds, abandoned)

    @property
    def seconds(self) -> float | None:
        """What is left, in seconds, at least 0; None without end."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def check(self, hint: str = HINT) -> None:
        """Ends the work on what nobody waits for.

        Args:
            hint: What to do when the time is over.

        Raises:
            DeadlineError: The time is over, or nobody wants the answer any more.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise DeadlineError("The time was over before the turn came.", hint)
        if self.abandoned():
            raise DeadlineError("Nobody waits for the answer any more.")

    @contextmanager
    def holding(self, lock: "threading.Lock | threading.Semaphore") -> Iterator[None]:
        """Waits for a lock, or for a place of a semaphore, and holds it while the block runs.

        Raises:
            DeadlineError: The time was over before it was free, or nobody wants the answer any
                more.
        """
        left = self.seconds
        if not (lock.acquire() if left is None else lock.acquire(timeout=left)):
            raise DeadlineError("The time was over before the turn came.", HINT)
        try:
            self.check()
            yield
        finally:
            lock.release()


ENDLESS = Patience()
