"""The roofline: what this machine can compute and move at most, and how near each way comes.

Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model". A network
cannot be faster than the processor computes, nor than memory brings what is computed with: which of
the two limits depends on its intensity, the operations for each byte that is moved. Both roofs are
measured here, in the process that measures, and not taken from a data sheet.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np

from sightbox.benchmark.report import Json
from sightbox.graphs.work import Work
from sightbox.machine import usable_cores

SIDE = 1024
"""Rows and columns of the matrices that are multiplied: 4 MB each, so that caches serve them."""

COPIED = 128 * 1024**2
"""Bytes that all threads together copy, more than caches of usual machines hold."""

SECONDS = 0.7
"""How long each roof is looked for; the best try counts, for nothing makes a machine too fast."""

LEAST_TRIES = 3

WIDTHS = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
"""Bytes of a number in each variant."""


@dataclass(frozen=True)
class Roofs:
    """What the machine can do at most.

    Attributes:
        gflops: 10**9 operations a second, in float32.
        gigabytes_per_second: 10**9 bytes a second that are read or written in memory.
        cores: Cores that took part.
    """

    gflops: float
    gigabytes_per_second: float
    cores: int

    def at(self, intensity: float) -> float:
        """Returns the most operations a second, in 10**9, at an intensity in operations a byte."""
        return min(self.gflops, intensity * self.gigabytes_per_second)


def measure_roofs(seconds: float = SECONDS) -> Roofs:
    """Measures both roofs: products of matrices by NumPy's BLAS, and copies by a thread a core."""
    cores = usable_cores()
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, SIDE, SIDE), np.float32)
    product = np.empty_like(left)
    multiplied = _best(lambda: np.matmul(left, right, out=product), seconds)
    source = np.ones((cores, COPIED // cores // 8), np.float64)
    target = np.zeros_like(source)
    with ThreadPoolExecutor(cores) as threads:
        meet = threading.Barrier(cores)

        def copy(number: int) -> None:
            meet.wait()
            np.copyto(target[number], source[number])

        copied = _best(lambda: list(threads.map(copy, range(cores))), seconds)
    return Roofs(2 * SIDE**3 / multiplied / 1e9, 2 * source.nbytes / copied / 1e9, cores)


def roofline(roofs: Roofs, work: Work, rows: Sequence[Json]) -> Json:
    """Returns where each way lies below the roofs, as JSON values.

    Args:
        roofs: The roofs.
        work: What the network does for a picture.
        rows: The report's rows.
    """
    points = [
        _point(roofs, work, row, batch)
        for row in rows
        if row["problem"] is None
        for batch in row["batches"]
    ]
    told = {name: round(value, 2) for name, value in asdict(roofs).items()}
    return told | {"work": asdict(work), "points": points}


def _point(roofs: Roofs, work: Work, row: Json, batch: Json) -> Json:
    size = batch["size"]
    intensity = work.intensity(size, WIDTHS[row["variant"]])
    gflops = work.flops * batch["images_per_second"] / 1e9
    return {
        "way": row["name"],
        "variant": row["variant"],
        "device": row["device"],
        "batch": size,
        "intensity": round(intensity, 2),
        "gflops": round(gflops, 2),
        "part": round(gflops / roofs.at(intensity), 4),
    }


def _best(work: Callable[[], object], seconds: float) -> float:
    """Returns the least time of a call, in seconds; the first one only warms up."""
    work()
    times: list[float] = []
    end = perf_counter() + seconds
    while len(times) < LEAST_TRIES or perf_counter() < end:
        begun = perf_counter()
        work()
        times.append(perf_counter() - begun)
    return min(times)
