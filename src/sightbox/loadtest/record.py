"""What became of each request, kept so that a million of them take little memory."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OK = 200
LATE_SECONDS = 0.002
"""The system's wait for events ends up to a millisecond after its time (epoll_wait(2))."""

EXCERPT = 200
"""Bytes of the first unreadable answer that are kept, to be shown."""

Floats = NDArray[np.float64]


@dataclass
class Record:
    """All requests of a run, in the order in which they ended.

    Times are seconds of `time.perf_counter`. It holds 26 bytes for each request.

    Attributes:
        due: When each request should have been sent.
        sent: When it was sent.
        ended: When its answer was there, or it failed.
        status: Status of its answer; 0 where there was none.
        late: How many the client itself was late with, by `LATE_SECONDS` or more.
        waited: How many had to wait for a free connection.
        unfinished: How many waited or were on their way when the run was interrupted.
        errors: How many got no answer, by what went wrong.
        answers: For each picture by number, how often which class was named first.
        unreadable: How many answers with status 200 name no class.
        excerpt: The beginning of the first of them.
    """

    due: "array[float]" = field(default_factory=lambda: array("d"))
    sent: "array[float]" = field(default_factory=lambda: array("d"))
    ended: "array[float]" = field(default_factory=lambda: array("d"))
    status: "array[int]" = field(default_factory=lambda: array("H"))
    late: int = 0
    waited: int = 0
    unfinished: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    answers: dict[int, Counter[str]] = field(default_factory=dict)
    unreadable: int = 0
    excerpt: bytes = b""

    def __len__(self) -> int:
        return len(self.status)

    def add(self, due: float, sent: float, ended: float, status: int) -> None:
        """Keeps one request."""
        self.due.append(due)
        self.sent.append(sent)
        self.ended.append(ended)
        self.status.append(status)

    def add_answer(self, picture: int, first: str | None, body: bytes) -> None:
        """Counts what an answer with status 200 says; None where it names no class."""
        if first is not None:
            self.answers.setdefault(picture, Counter())[first] += 1
            return
        self.unreadable += 1
        self.excerpt = self.excerpt or body[:EXCERPT]

    def statuses(self) -> dict[int, int]:
        """Returns how often each status came."""
        return dict(sorted(Counter(status for status in self.status if status).items()))

    def good(self) -> NDArray[np.bool_]:
        """Tells for each request whether it was answered with status 200, bool [N]."""
        return np.asarray(np.frombuffer(self.status, np.uint16) == OK)

    def latencies(self) -> Floats:
        """Returns ms from when a request was due to its answer, those of status 200, float64 [N].

        A request that had to wait because the server stalled has its waiting in it: nothing is left
        out because the client could not ask ("coordinated omission").
        """
        return 1000 * (_column(self.ended) - _column(self.due))[self.good()]

    def service_times(self) -> Floats:
        """Returns ms from sending to the answer, of those with status 200, float64 [N]."""
        return 1000 * (_column(self.ended) - _column(self.sent))[self.good()]

    def delays(self) -> Floats:
        """Returns how many ms after it was due each request was sent, float64 [N]."""
        return 1000 * (_column(self.sent) - _column(self.due))

    def unsteady(self) -> list[int]:
        """Returns the pictures that did not always get the same first class, by number."""
        return sorted(picture for picture, named in self.answers.items() if len(named) > 1)


def _column(values: "array[float]") -> Floats:
    return np.frombuffer(values, np.float64)
