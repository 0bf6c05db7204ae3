"""Measures every way in turn, round after round, so that the noise of a machine hits all alike."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from sightbox.benchmark.probe import STAGES, Clock, Logits, Memory, Start, Subject, Visit, Way
from sightbox.benchmark.timing import time_calls
from sightbox.errors import SightboxError

SIZES = (1, 4, 8, 16)
"""Batches that are measured in any case."""

GROWTH = 1.03
"""How many times the best speed so far a larger batch must bring for a still larger one to be
tried."""

WARM = 0.05
"""Part by which the medians of two visits in a row may differ for a way to count as warm."""

WARM_VISITS = 8
"""Visits after which it counts as warm anyway."""

WARM_SHARE = 0.04
"""Part of the time after which it does so, too."""

LEAST_ROUNDS = 3
"""Rounds that are measured even if the time is over: fewer tell nothing about the noise."""

HASHED = bytes(4 * 1024**2)
"""What the yardstick hashes: a few milliseconds of one core, in C, whatever is measured."""

UNTOLD = Memory(0, 0)

Progress = Callable[[str, int, int], None]
"""Is told what is measured now, how many steps are done, and of how many."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        name: Its name in the report.
        rounds: Rounds of single answers.
        calls: Calls of each way in a round.
        batch_rounds: Rounds of batches.
        images: Pictures at least that a batch's calls of a round answer.
        largest: The largest batch, at least the last of `SIZES`.
        seconds: Time after which no further round is begun.
    """

    name: str
    rounds: int
    calls: int
    batch_rounds: int
    images: int
    largest: int
    seconds: float


FULL = Effort("full", 10, 10, 5, 16, 64, 120)
"""100 calls of each way. With what is measured beside them it stays below three minutes."""

QUICK = Effort("quick", 5, 5, 3, 8, 16, 30)


@dataclass
class Found:
    """What was measured of one way.

    Attributes:
        way: The way.
        problem: Why it could not be measured; what follows is incomplete then.
        start: What its start took, and its answers.
        whole: Visits from bytes to answer, a round each.
        engine: Visits of the engine alone with one picture.
        batches: Visits of the engine by the size of the batch.
        memory: After the single answers.
        memory_with_batches: After the batches.
    """

    way: Way
    problem: str | None = None
    start: Start | None = None
    whole: list[Visit] = field(default_factory=list)
    engine: list[Visit] = field(default_factory=list)
    batches: dict[int, list[Visit]] = field(default_factory=dict)
    memory: Memory = UNTOLD
    memory_with_batches: Memory = UNTOLD

    @property
    def logits(self) -> Logits | None:
        """Its answers to all pictures, float32 [N, C]; None where it did not start."""
        return None if self.start is None else self.start.logits

    @property
    def steady(self) -> bool:
        """Whether it always gave the same answers."""
        visits = [
            *self.whole,
            *self.engine,
            *(each for size in self.batches.values() for each in size),
        ]
        return all(visit.steady for visit in visits)

    def stages(self) -> dict[str, float]:
        """Returns the median of each stage, ms."""
        return {
            stage: median(time for visit in self.whole for time in visit.stages.get(stage, [0.0]))
            for stage in STAGES
        }


@dataclass
class Measurement:
    """What was measured.

    Attributes:
        found: One for each way.
        yardstick: Times of the same work of one core, ms, a sequence for each round.
        seconds: How long it took.
    """

    found: list[Found]
    yardstick: list[list[float]]
    seconds: float


def measure(
    subjects: Sequence[Subject],
    effort: Effort,
    progress: Progress = lambda *_: None,
    *,
    clock: Clock | None = None,
    yardstick: Callable[[], object] | None = None,
) -> Measurement:
    """Measures ways in turn.

    Args:
        subjects: The ways; they are opened one after the other, and closed at the end.
        effort: How long to measure.
        progress: Is told each step before it is taken.
        clock: What time is told by.
        yardstick: Work that has nothing to do with the ways; hashing when not given.
    """
    clock = clock or Clock()
    work = yardstick or (lambda: hashlib.sha256(HASHED).digest())
    return _Run(subjects, effort, progress, clock, work).measure()


class _Run:
    def __init__(
        self,
        subjects: Sequence[Subject],
        effort: Effort,
        progress: Progress,
        clock: Clock,
        yardstick: Callable[[], object],
    ) -> None:
        self._effort, self._progress, self._clock = effort, progress, clock
        self._work = yardstick
        self._yardstick: list[list[float]] = []
        self._pairs = [(subject, Found(subject.way)) for subject in subjects]
        self._steps = (2 + effort.rounds + effort.batch_rounds) * len(subjects)
        self._done = 0

    def measure(self) -> Measurement:
        begun = self._clock.wall()
        with ExitStack() as stack:
            for subject, _ in self._pairs:
                stack.callback(subject.close)
            for subject, found in self._alive("start"):
                self._try(found, partial(_start, subject, found))
            for subject, found in self._alive("warm-up"):
                self._try(found, partial(self._warm_up, subject))
            self._singles(begun + self._effort.seconds / 2)
            self._batches(begun + self._effort.seconds)
        every = [found for _, found in self._pairs]
        return Measurement(every, self._yardstick, self._clock.wall() - begun)

    def _warm_up(self, subject: Subject) -> None:
        """Makes calls until they take as long as the ones before."""
        end = self._clock.wall() + WARM_SHARE * self._effort.seconds
        before = 0.0
        for _ in range(WARM_VISITS):
            now = median(subject.whole(self._effort.calls).times)
            if abs(now - before) <= WARM * now or self._clock.wall() > end:
                break
            before = now
        subject.engine(1, self._effort.calls)

    def _singles(self, end: float) -> None:
        for number in self._rounds(self._effort.rounds, end):
            self._yardstick.append(time_calls(self._work, self._effort.calls, self._clock.wall)[0])
            for subject, found in self._alive(f"single answers, round {number + 1}"):
                self._try(found, partial(self._single, subject, found))
        self._remember("memory")

    def _single(self, subject: Subject, found: Found) -> None:
        whole, engine = subject.whole(self._effort.calls), subject.engine(1, self._effort.calls)
        found.whole.append(whole)
        found.engine.append(engine)

    def _batches(self, end: float) -> None:
        for number in self._rounds(self._effort.batch_rounds, end):
            for subject, found in self._alive(f"batches, round {number + 1}"):
                self._try(found, partial(self._sweep, subject, found))
        self._remember("memory_with_batches")

    def _remember(self, name: str) -> None:
        """Asks each way for its memory."""
        for subject, found in self._pairs:
            if found.problem is None:
                self._try(found, partial(_remember, subject, found, name))

    def _sweep(self, subject: Subject, found: Found) -> None:
        """Measures each batch once; the first time, larger ones as long as that brings speed."""
        first = not found.batches
        sizes = list(_sizes(self._effort.largest)) if first else list(found.batches)
        visits: dict[int, Visit] = {}
        best = 0.0
        for size in sizes:
            if first:
                # Runtimes compile, or take memory, for each size anew.
                subject.engine(size, 1)
            visits[size] = subject.engine(size, max(1, self._effort.images // size))
            speed = size / median(visits[size].times)
            if first and size >= SIZES[-1] and speed < GROWTH * best:
                break
            best = max(best, speed)
        for size, visit in visits.items():
            found.batches.setdefault(size, []).append(visit)

    def _rounds(self, count: int, end: float) -> Iterator[int]:
        """Yields numbers of rounds, as long as there is time."""
        for number in range(count):
            if number >= LEAST_ROUNDS and self._clock.wall() > end:
                self._done += (count - number) * len(self._pairs)
                return
            yield number

    def _alive(self, step: str) -> Iterator[tuple[Subject, Found]]:
        for subject, found in self._pairs:
            self._progress(f"{found.way}: {step}", self._done, self._steps)
            self._done += 1
            if found.problem is None:
                yield subject, found

    def _try(self, found: Found, work: Callable[[], object]) -> None:
        try:
            work()
        except SightboxError as error:
            found.problem = str(error)


def _sizes(largest: int) -> Iterator[int]:
    yield from SIZES
    size = 2 * SIZES[-1]
    while size <= largest:
        yield size
        size *= 2


def _start(subject: Subject, found: Found) -> None:
    found.start = subject.start()


def _remember(subject: Subject, found: Found, name: str) -> None:
    setattr(found, name, subject.memory())
