"""Many reports as one HTML file: how the figures went over time."""

from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from sightbox.benchmark.report import Json
from sightbox.benchmark.tables import headline
from sightbox.benchmark.words import words

TEMPLATE = files("sightbox") / "data" / "benchmark_history.html"

WIDTH, HEIGHT = 600.0, 160.0
"""Size of a plot without its texts, in units of the drawing."""

Figure = Callable[[Json], float | None]


def history_page(reports: Sequence[Json]) -> str:
    """Returns a page with a plot for each figure over the reports, the oldest first."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    figures: list[tuple[dict[str, str], Figure]] = [
        (words("ms a picture", "每张毫秒"), lambda row: float(row["whole_ms"]["median"])),
        (words("images/s in batches", "批量 张/秒"), _best_speed),
        (words("MB", "内存 MB"), _megabytes),
        (words("start s", "启动 秒"), lambda row: float(sum(row["start_s"].values()))),
    ]
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        reports=reports,
        plots=[{"title": title, **_plot(reports, figure)} for title, figure in figures],
        width=WIDTH,
        height=HEIGHT,
    )


def _plot(reports: Sequence[Json], figure: Figure) -> Json:
    """Returns a point for each report that has the figure; those of marked runs are hollow."""
    found = []
    for number, report in enumerate(reports):
        row = headline(report)
        value = None if row is None else figure(row)
        if row is not None and value is not None:
            found.append((number, report, row["name"], value))
    most = max((value for *_, value in found), default=1.0)
    step = WIDTH / max(1, len(reports) - 1)
    points = [
        {
            "x": round(step * number, 1),
            "y": round(HEIGHT * (1 - value / most), 1),
            "value": value,
            "date": report["date"],
            "way": way,
            "marked": bool(report["marks"]),
        }
        for number, report, way, value in found
    ]
    return {"points": points, "most": most}


def _best_speed(row: Json) -> float | None:
    return max((batch["images_per_second"] for batch in row["batches"]), default=None)


def _megabytes(row: Json) -> float | None:
    steady = row["memory"]["steady"]
    return None if steady is None else steady / 10**6
