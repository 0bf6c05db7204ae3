"""What was measured, as the report that is kept and shown: JSON values."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sightbox.loadtest.marks import in_time, marks_of
from sightbox.loadtest.record import Floats
from sightbox.loadtest.spectrum import percentiles, spectrum
from sightbox.loadtest.testing import Plan, Run
from sightbox.machine import machine_card

FORMAT = 1
"""Version of the report; a field that is renamed or removed raises it."""

KIND = "sightbox load test"

SHOWN = 5
"""Pictures without one steady answer that are named."""

Json = dict[str, Any]


def make_report(plan: Plan, run: Run, names: Sequence[str]) -> Json:
    """Returns the report; docs/benchmarks.md tells its fields.

    Args:
        plan: What was asked, and how.
        run: What was measured.
        names: Of the pictures.
    """
    record = run.record
    return {
        "kind": KIND,
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_card(),
        "server": {"address": run.target.authority, "path": run.target.path or None}
        | {"dialect": plan.dialect, "model": plan.model},
        "load": _load(plan, len(names)),
        "seconds": round(run.seconds, 3),
        "conditions": run.conditions.to_json(),
        "marks": [mark.to_json() for mark in marks_of(plan, run)],
        "requests": len(record),
        "unfinished": record.unfinished,
        "statuses": {str(status): count for status, count in record.statuses().items()},
        "errors": dict(record.errors.most_common()),
        "per_second": _rates(plan, run),
        "latency_ms": _figures(record.latencies()),
        "service_ms": _figures(record.service_times()),
        "client": _client(run),
        "answers": _answers(run, names),
    }


def to_text(report: Json) -> str:
    """Returns the report as JSON text."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def _load(plan: Plan, pictures: int) -> Json:
    is_open = plan.rate is not None
    return {
        "loop": "open" if is_open else "closed",
        "clients": None if is_open else plan.clients,
        "rate": plan.rate,
        "arrivals": plan.arrivals if is_open else None,
        "connections": plan.connections if is_open else plan.clients,
        "seconds": plan.seconds,
        "timeout_s": plan.timeout,
        "pictures": pictures,
    }


def _rates(plan: Plan, run: Run) -> Json:
    """Returns what was asked and what was answered with status 200, a second of the load."""
    if plan.rate is None or run.interrupted:
        seconds, answered = run.seconds, int(run.record.good().sum())
    else:
        seconds, answered = plan.seconds, in_time(plan, run)
    return {
        "asked": round(len(run.record) / seconds, 3),
        "answered": round(answered / seconds, 3),
    }


def _figures(samples: Floats) -> Json:
    if not len(samples):
        return {"count": 0}
    figures = {
        "count": len(samples),
        "mean": float(samples.mean()),
        "min": float(samples.min()),
        **percentiles(samples),
        "max": float(samples.max()),
    }
    rounded = {name: value if value is None else round(value, 4) for name, value in figures.items()}
    points = [[round(part, 6), round(ms, 4), rank] for part, ms, rank in spectrum(samples)]
    return rounded | {"spectrum": points}


def _client(run: Run) -> Json:
    delays = run.record.delays()
    return {
        "cpu_share": round(run.cpu, 4),
        "sent_late": run.record.late,
        "waited_for_a_connection": run.record.waited,
        "largest_delay_ms": round(float(delays.max()), 4) if len(delays) else None,
    }


def _answers(run: Run, names: Sequence[str]) -> Json:
    record = run.record
    unsteady = record.unsteady()
    return {
        "checked": run.checked,
        "unreadable": record.unreadable,
        "first_unreadable": record.excerpt.decode(errors="replace") or None,
        "unsteady_pictures": len(unsteady),
        "unsteady": [
            {"picture": names[number], "named": dict(record.answers[number].most_common())}
            for number in unsteady[:SHOWN]
        ],
    }
