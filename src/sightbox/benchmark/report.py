"""What was measured, as the report that is kept, shown and compared: JSON values."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from sightbox.agreement import Agreement
from sightbox.benchmark.conditions import Conditions
from sightbox.benchmark.gate import DISQUALIFYING, Mark, agreement, marks_of_run, marks_of_way
from sightbox.benchmark.measuring import Effort, Found, Measurement
from sightbox.benchmark.probe import Logits, Memory, Visit
from sightbox.benchmark.quoted import QUOTED, Quoted
from sightbox.benchmark.statistics import summary
from sightbox.errors import RequestError
from sightbox.machine import processor_name
from sightbox.model import Model
from sightbox.plan import circumstances

FORMAT = 1
"""Version of the report; a field that is renamed or removed raises it."""

KIND = "sightbox benchmark"

NEEDED = frozenset(
    {"date", "machine", "circumstances", "model", "marks", "chosen", "fastest", "rows"}
    | {"yardstick_ms"}
)
"""What other commands read in a report."""

Json = dict[str, Any]


def make_report(
    measured: Measurement,
    model: Model,
    effort: Effort,
    conditions: Conditions,
    *,
    reference: str,
    chosen: str,
    side: int,
) -> Json:
    """Returns the report.

    Args:
        measured: What was measured.
        model: Of which model.
        effort: How long.
        conditions: What else the machine did.
        reference: The way whose answers are right, by name.
        chosen: The way that Sightbox takes here, by name.
        side: Height and width of the pictures, px.
    """
    right = next((each.logits for each in measured.found if str(each.way) == reference), None)
    rows = [_row(each, right) for each in measured.found]
    return {
        "kind": KIND,
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"name": processor_name(), "system": platform.platform()}
        | {"python": platform.python_version()},
        "circumstances": circumstances(model),
        "model": model.card.name,
        "picture": {"format": "JPEG", "side": side},
        "effort": {"name": effort.name, "calls": effort.calls, "rounds": len(measured.yardstick)},
        "seconds": round(measured.seconds, 1),
        "conditions": conditions.to_json(),
        "marks": _marks(marks_of_run(measured, conditions, effort)),
        "reference": reference,
        "chosen": chosen,
        "fastest": fastest(rows),
        "yardstick_ms": _samples(measured.yardstick),
        "rows": rows,
        "quoted": [_quoted(each) for each in QUOTED],
    }


def fastest(rows: Sequence[Json]) -> str | None:
    """Returns the name of the way with the least time for a picture, of those that are right."""
    fair = [row for row in rows if is_right(row)]
    return min(fair, key=lambda row: row["whole_ms"]["median"])["name"] if fair else None


def is_right(row: Json) -> bool:
    """Tells whether a way was measured and its answers are those of the reference."""
    return row["problem"] is None and not DISQUALIFYING & {mark["code"] for mark in row["marks"]}


def read_report(path: Path) -> Json:
    """Reads a report.

    Raises:
        RequestError: It cannot be read, or is no report of this format.
    """
    try:
        report: Json = json.loads(path.read_bytes())
        wanted = (report["kind"], report["format"]) == (KIND, FORMAT) and report.keys() >= NEEDED
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.") from error
    except (LookupError, TypeError, ValueError) as error:
        raise RequestError(f"{path} is no report.", "Make one: sightbox bench --json.") from error
    if not wanted:
        raise RequestError(
            f"{path} is no report of the format {FORMAT}.", "Make one: sightbox bench --json."
        )
    return report


def to_text(report: Json) -> str:
    """Returns the report as JSON text."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def _row(found: Found, reference: Logits | None) -> Json:
    way = found.way
    head = {"name": str(way), "backend": way.backend, "variant": way.variant, "device": way.device}
    if found.problem is not None:
        return head | {"problem": found.problem, "marks": []}
    agreed = agreement(found, reference)
    batches = [_batch(size, visits) for size, visits in found.batches.items()]
    best = max(batches, key=lambda each: each["images_per_second"], default={"size": None})
    stages = {} if found.start is None else found.start.stages
    return head | {
        "problem": None,
        "marks": _marks(marks_of_way(found, reference)),
        "agreement": None if agreed is None else _agreement(agreed),
        "whole_ms": _samples([visit.times for visit in found.whole]),
        "engine_ms": _samples([visit.times for visit in found.engine]),
        "stages_ms": {stage: round(time, 4) for stage, time in found.stages().items()},
        "cpu_ms": round(median(visit.cpu for visit in found.whole), 4),
        "energy_j": _energy(found.whole),
        "memory": _memory(found.memory, found.memory_with_batches),
        "start_s": {stage: round(seconds, 4) for stage, seconds in stages.items()},
        "batches": batches,
        "best_batch": best["size"],
    }


def _samples(rounds: Sequence[Sequence[float]]) -> Json:
    """Returns figures and samples; these are for comparing."""
    figures = {name: round(value, 4) for name, value in asdict(summary(rounds)).items()}
    return figures | {"rounds": [[round(time, 4) for time in each] for each in rounds]}


def _batch(size: int, visits: Sequence[Visit]) -> Json:
    samples = _samples([visit.times for visit in visits])
    return {
        "size": size,
        "images_per_second": round(1000 * size / samples["median"], 2),
        "ms": samples,
    }


def _agreement(agreed: Agreement) -> Json:
    names = ("images", "top1", "mean_change", "largest_change")
    return {name: round(getattr(agreed, name), 6) for name in names}


def _energy(visits: Sequence[Visit]) -> float | None:
    told = [visit.energy for visit in visits if visit.energy is not None]
    return round(median(told), 4) if told else None


def _memory(alone: Memory, with_batches: Memory) -> Json:
    """Returns bytes; None is what the system does not tell."""
    found = {
        "steady": alone.resident,
        "peak": alone.peak,
        "peak_with_batches": with_batches.peak,
    }
    return {name: value or None for name, value in found.items()}


def _marks(marks: Sequence[Mark]) -> list[dict[str, str]]:
    return [mark.to_json() for mark in marks]


def _quoted(each: Quoted) -> Json:
    batches = [{"size": size, "images_per_second": speed} for size, speed in each.batches.items()]
    return each._asdict() | {"batches": batches}
