"""The roofline as a drawing: operations a second over the intensity, both logarithmic."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from sightbox.benchmark.report import Json
from sightbox.benchmark.roofline import Roofs

COLOURS = 8
"""Colours that the sheet has; more ways begin again with the first."""

MARGIN = 1.3
"""Factor that is left free around all that is drawn."""

Scale = Callable[[float], float]


def roofline_plot(found: Json | None, width: float, height: float) -> dict[str, Any] | None:
    """Returns the places of what is drawn; None where the report has no roofline.

    Args:
        found: The report's part ``roofline``.
        width: Of the drawing, in its units.
        height: Likewise.
    """
    if found is None or not found["points"]:
        return None
    roofs = Roofs(found["gflops"], found["gigabytes_per_second"], found["cores"])
    ridge = roofs.gflops / roofs.gigabytes_per_second
    intensities = [ridge, *(point["intensity"] for point in found["points"])]
    speeds = [roofs.gflops, *(point["gflops"] for point in found["points"])]
    left, right = min(intensities) / MARGIN**2, max(intensities) * MARGIN**2
    low, high = min(*speeds, roofs.at(left)) / MARGIN, max(speeds) * MARGIN
    x, y = _scale(left, right, 0, width), _scale(low, high, height, 0)
    roof = [(left, roofs.at(left)), (ridge, roofs.gflops), (right, roofs.gflops)]
    return {
        "roof": [{"x": x(each), "y": y(speed)} for each, speed in roof],
        "ridge": x(ridge),
        "columns": [{"x": x(each), "text": f"{each:g}"} for each in _ticks(left, right)],
        "rows": [{"y": y(each), "text": f"{each:g}"} for each in _ticks(low, high)],
        "curves": list(_curves(found, x, y)),
    }


def _curves(found: Json, x: Scale, y: Scale) -> Iterator[dict[str, Any]]:
    """Yields for each way its points, one a batch."""
    ways = dict.fromkeys(point["way"] for point in found["points"])
    for number, way in enumerate(ways):
        own = [point for point in found["points"] if point["way"] == way]
        points = [point | {"x": x(point["intensity"]), "y": y(point["gflops"])} for point in own]
        yield {"name": way, "colour": number % COLOURS, "points": points}


def _scale(least: float, most: float, first: float, last: float) -> Scale:
    """Returns what maps ``least`` … ``most`` to ``first`` … ``last`` by their logarithms."""

    def place(value: float) -> float:
        part = math.log(value / least) / math.log(most / least)
        return round(first + part * (last - first), 1)

    return place


def _ticks(least: float, most: float) -> Iterator[float]:
    """Yields 1, 2, 5, 10, … between two numbers, both above 0."""
    for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1):
        for step in (1, 2, 5):
            tick = float(f"{step}e{power}")
            if least <= tick <= most:
                yield tick
