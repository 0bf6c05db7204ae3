"""Percentiles of all samples, exact to the last one, and their form for HdrHistogram's plotter.

All samples are kept and sorted at the end: 8 bytes each, so that the percentiles of a million
requests are exact with 8 MB. A histogram with a high dynamic range (Tene, HdrHistogram) bounds its
memory and rounds to 3 digits; that would only matter for runs of days.
"""

import math
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from sightbox.loadtest.record import Floats

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)

STEPS = 5
"""Points of the spectrum for each halving of the distance to 100 %, as HdrHistogram has them."""


class Point(NamedTuple):
    """One point of a distribution.

    Attributes:
        percentile: 0 to 100.
        ms: The sample that this part of all samples do not exceed (nearest rank).
        rank: How many samples do not exceed it.
    """

    percentile: float
    ms: float
    rank: int


def percentiles(samples: Floats) -> dict[str, float | None]:
    """Returns the percentiles by name, ms; None where no sample lies beyond it.

    Args:
        samples: ms, float64 [N], in any order.
    """
    ordered = np.sort(samples)
    return {
        f"p{part:g}": _at(ordered, part).ms if _is_known(part, len(ordered)) else None
        for part in PERCENTILES
    }


def spectrum(samples: Floats) -> list[Point]:
    """Returns the distribution, with ever finer steps towards its end; empty without samples.

    Args:
        samples: ms, float64 [N], in any order.
    """
    ordered = np.sort(samples)
    if not len(ordered):
        return []
    known = takewhile(lambda part: _is_known(part, len(ordered)), _steps())
    return [*(_at(ordered, part) for part in known), Point(100.0, float(ordered[-1]), len(ordered))]


def hdr_text(samples: Floats) -> str:
    """Returns the distribution in the text form that HdrHistogram writes and its plotter reads.

    Columns: value in ms, percentile as a part of 1, number of samples up to it, 1 / (1 - part).
    """
    points = spectrum(samples)
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for point in points:
        part = point.percentile / 100
        rest = "inf" if part == 1 else f"{1 / (1 - part):.2f}"
        lines.append(f"{point.ms:12.3f} {part:2.12f} {point.rank:10d} {rest:>14}")
    mean, deviation = (float(samples.mean()), float(samples.std())) if points else (0.0, 0.0)
    most = points[-1].ms if points else 0.0
    lines += [
        f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {most:12.3f}, Total count    = {len(samples):12d}]",
    ]
    return "\n".join(lines) + "\n"


def _is_known(percentile: float, count: int) -> bool:
    """Tells whether at least one of so many samples lies beyond a percentile."""
    # The exact product of 1000 and 0.001 is 1, that of floats is a little less.
    return count * (100 - percentile) / 100 >= 1 - 1e-9


def _at(ordered: Floats, percentile: float) -> Point:
    rank = max(1, math.ceil(round(percentile / 100 * len(ordered), 6)))
    return Point(percentile, float(ordered[rank - 1]), rank)


def _steps() -> Iterator[float]:
    """Yields 0, 10, ... 50, 55, ... 75, 77.5, ...: percentiles without end."""
    start, width = 0.0, 100.0
    while True:
        for step in range(STEPS):
            yield start + step * width / 2 / STEPS
        start, width = start + width / 2, width / 2
