"""What must be known before a scenario can be run: the capacity, and the rate that holds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from time import perf_counter
from typing import NamedTuple

from sightbox.loadgen.scenarios import Outcome, Task
from sightbox.loadgen.system import Said

PRECISION = 0.05
"""Part of the rate down to which it is searched."""

LEAST = 0.1
"""Part of the capacity below which no rate is tried: the number of queries is given, so that half
the rate takes twice the time."""

TRIES = 3
"""Runs of Offline until the expected rate was right: it decides how many pictures are asked, and
too few end before the least duration."""

Runner = Callable[[Task], Outcome]


class Trial(NamedTuple):
    """One rate that was tried.

    Attributes:
        rate: Pictures a second.
        valid: Whether LoadGen says that it held.
        p99_ms: The 99th percentile of the latency.
        reason: Why it did not hold; empty where it did.
    """

    rate: float
    valid: bool
    p99_ms: float
    reason: str


class Found(NamedTuple):
    """The highest rate that held, or None; what LoadGen said there; and all that was tried."""

    rate: float | None
    outcome: Outcome | None
    trials: list[Trial]


def capacity(
    answer: Callable[[int], Said],
    pictures: int,
    threads: int,
    seconds: float,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Returns how many pictures a second the threads answer together; the first ones warm up.

    Args:
        answer: Answers the picture of a number.
        pictures: How many there are.
        threads: How many.
        seconds: How long to measure.
        clock: Seconds.
    """
    numbers = count()

    def work(end: float) -> int:
        done = 0
        while not done or clock() < end:
            answer(next(numbers) % pictures)
            done += 1
        return done

    with ThreadPoolExecutor(threads, "sightbox-capacity") as pool:
        list(pool.map(work, [0.0] * threads))
        start = clock()
        done = sum(pool.map(work, [start + seconds] * threads))
        return done / (clock() - start)


def offline(run: Runner, task: Task) -> Outcome:
    """Runs Offline, anew with what was measured where the expected rate was too low."""
    for _ in range(TRIES):
        outcome = run(task)
        if outcome.valid:
            break
        task = replace(task, rate=float(outcome.figures["result_samples_per_second"]))
    return outcome


def highest_rate(run: Runner, task: Task, most: float) -> Found:
    """Finds the highest rate of Server that LoadGen calls valid, by halving.

    Args:
        run: Runs a task.
        task: Of Server; its rate is what is searched.
        most: A rate that cannot hold: the capacity.
    """
    low, high = 0.0, most
    found = Found(None, None, [])
    while high - low > PRECISION * high and (rate := (low + high) / 2) >= LEAST * most:
        outcome = run(replace(task, rate=rate))
        p99 = outcome.ms("result_99.00_percentile_latency_ns")
        found.trials.append(Trial(rate, outcome.valid, p99, outcome.reason))
        if outcome.valid:
            low, found = rate, Found(rate, outcome, found.trials)
        else:
            high = rate
    return found
