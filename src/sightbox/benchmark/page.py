"""The report as HTML with plots: a file that needs nothing beside it, or a piece of a page."""

from collections.abc import Sequence
from importlib.resources import files
from itertools import accumulate
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from sightbox.benchmark.probe import STAGES
from sightbox.benchmark.report import Json
from sightbox.benchmark.roofline_plot import COLOURS, roofline_plot
from sightbox.benchmark.tables import headline, tables

TEMPLATES = files("sightbox") / "data"
SHEET = files("sightbox") / "web" / "static" / "benchmark" / "report.css"
"""Looks of the report, which the web page shares."""

LANGUAGES = ("en", "zh")

BINS = 40
"""Bars of a distribution."""

WIDTH, HEIGHT = 600.0, 200.0
"""Size of a plot without its texts, in units of the drawing."""


def benchmark_page(report: Json) -> str:
    """Returns a report of `sightbox.benchmark.report.make_report` as a page."""
    return _template("benchmark.html").render(
        report=report,
        # Both are of our own making: the one is a file of the package, the other is escaped.
        sheet=Markup(SHEET.read_text("utf-8")),  # noqa: S704
        body=report_body(report),
    )


def report_body(report: Json, languages: Sequence[str] = LANGUAGES) -> Markup:
    """Returns a report as a piece of HTML for an element of the class ``report``.

    Args:
        report: The report.
        languages: In which it says everything, one beside the other: `LANGUAGES`, or one of them.
    """
    measured = [row for row in report["rows"] if row["problem"] is None]
    body = _template("benchmark_body.html").render(
        report=report,
        languages=languages,
        tables={table.name: table for table in tables(report)},
        headline=headline(report),
        distributions=_distributions(measured),
        curves=_curves(measured),
        bars=_bars(measured),
        roofline=roofline_plot(report.get("roofline"), WIDTH, HEIGHT),
        width=WIDTH,
        height=HEIGHT,
    )
    return Markup(body)  # noqa: S704 - escaped by the template


def _template(name: str) -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((TEMPLATES / name).read_text("utf-8"))


def _distributions(rows: Sequence[Json]) -> Json:
    """Returns for each way the heights of its bars over times that all ways share."""
    samples = [np.concatenate(row["whole_ms"]["rounds"]) for row in rows]
    # A single call of a second would leave no room for the others.
    end = max((float(np.quantile(each, 0.99)) for each in samples), default=1.0)
    edges = np.linspace(0, end, BINS + 1)
    step = WIDTH / BINS
    plots = []
    for number, (row, each) in enumerate(zip(rows, samples, strict=True)):
        counts, _ = np.histogram(each.clip(max=end), edges)
        heights = counts / max(1, counts.max())
        bars = [
            {"x": round(step * index, 1), "height": round(float(height), 3), "count": int(count)}
            for index, (height, count) in enumerate(zip(heights, counts, strict=True))
            if count
        ]
        marks = {name: WIDTH * min(1.0, row["whole_ms"][name] / end) for name in ("median", "p99")}
        plots.append(_named(row, number) | {"bars": bars} | marks | {"ms": row["whole_ms"]})
    return {"plots": plots, "step": step, "end": end}


def _curves(rows: Sequence[Json]) -> Json:
    """Returns for each way its speed over the batch: sizes in equal steps, speed from 0 on."""
    sizes = sorted({batch["size"] for row in rows for batch in row["batches"]})
    speeds = [batch["images_per_second"] for row in rows for batch in row["batches"]]
    most = max(speeds, default=1.0)
    step = WIDTH / max(1, len(sizes) - 1)
    curves = []
    for number, row in enumerate(rows):
        points = [
            {
                "x": round(step * sizes.index(batch["size"]), 1),
                "y": round(HEIGHT * (1 - batch["images_per_second"] / most), 1),
                "size": batch["size"],
                "speed": batch["images_per_second"],
            }
            for batch in row["batches"]
        ]
        curves.append(_named(row, number) | {"points": points})
    ticks = [{"x": round(step * index, 1), "size": size} for index, size in enumerate(sizes)]
    return {"curves": curves, "ticks": ticks, "most": most}


def _bars(rows: Sequence[Json]) -> Json:
    """Returns for each way its stages side by side, in the same scale for all."""
    most = max((sum(row["stages_ms"].values()) for row in rows), default=1.0)
    bars = []
    for row in rows:
        widths = [WIDTH * time / most for time in row["stages_ms"].values()]
        starts = [0.0, *accumulate(widths)]
        parts = [
            {"stage": stage, "x": round(x, 1), "width": round(wide, 1), "ms": time, "colour": index}
            for index, ((stage, time), x, wide) in enumerate(
                zip(row["stages_ms"].items(), starts, widths, strict=False)
            )
        ]
        bars.append({"name": row["name"], "parts": parts})
    return {"bars": bars, "stages": list(STAGES)}


def _named(row: Json, number: int) -> dict[str, Any]:
    return {"name": row["name"], "colour": number % COLOURS}
