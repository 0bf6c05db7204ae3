"""Marks what must not be taken for a result of a load test: marked, and never hidden."""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sightbox.benchmark.gate import Mark, disturbances
from sightbox.loadtest.testing import Plan, Run

LATE = 0.01
"""Part of the requests that the client may send late."""

STRAINED = 0.8
"""Part of a core above which the client, which has one thread, may have been the limit."""

IN_TIME = 0.95
"""Part of the requests of an open loop that must be answered before its end."""

FEW = 1000
"""Answers below which not one lies beyond the 99.9th percentile."""


def marks_of(plan: Plan, run: Run) -> list[Mark]:
    """Returns what is wrong with the figures of a run, or must be known to read them."""
    return [*_of_answers(run), *_of_client(plan, run), *_of_machine(run)]


def in_time(plan: Plan, run: Run) -> int:
    """Returns how many answers with status 200 came before the load's end."""
    ended = np.frombuffer(run.record.ended, np.float64)
    end = run.start + (run.seconds if run.interrupted else plan.seconds)
    return int((run.record.good() & (ended <= end)).sum())


def is_here(host: str) -> bool:
    """Tells whether a host is this machine: a loopback address, or the name of one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _of_answers(run: Run) -> Iterator[Mark]:
    record = run.record
    good = int(record.good().sum())
    if not run.checked:
        yield Mark("unchecked")
    if record.unreadable:
        yield Mark("unreadable", str(record.unreadable))
    if record.unsteady():
        yield Mark("unsteady")
    if good < len(record):
        yield Mark("failed", _part(1 - good / len(record)))
    if good < FEW:
        yield Mark("few", str(good))
    if run.interrupted:
        yield Mark("interrupted", str(record.unfinished))


def _of_client(plan: Plan, run: Run) -> Iterator[Mark]:
    record = run.record
    if plan.rate is not None and len(record):
        answered = in_time(plan, run) / len(record)
        if answered < IN_TIME:
            yield Mark("overloaded", _part(answered))
        if record.waited:
            yield Mark("crowded", str(record.waited))
        if record.late > LATE * len(record):
            yield Mark("late", _part(record.late / len(record)))
    if run.cpu > STRAINED:
        yield Mark("strained", _part(run.cpu))


def _of_machine(run: Run) -> Iterator[Mark]:
    seen = run.conditions
    if is_here(run.target.host):
        # What others take of this machine is what the server takes: that is no disturbance.
        seen = replace(seen, contention=None)
    yield from disturbances(seen, run.seconds)


def _part(part: float) -> str:
    return f"{part:.0%}" if part >= 0.01 else f"{part:.2%}"
