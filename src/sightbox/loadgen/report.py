"""What LoadGen said, as the report that is kept and shown: JSON values."""

from datetime import UTC, datetime
from typing import Any

from sightbox.benchmark.conditions import Conditions
from sightbox.benchmark.gate import disturbances
from sightbox.loadgen.scenarios import SAMPLES, Outcome, Task
from sightbox.loadgen.search import Found
from sightbox.machine import machine_card
from sightbox.prediction import ModelInfo

FORMAT = 1
"""Version of the report; a field that is renamed or removed raises it."""

KIND = "sightbox LoadGen scenarios"

UNVERIFIED = "LoadGen scenarios, unverified: no MLPerf scores. Result not verified by MLCommons \
Association."
"""What stands beside each result: MLCommons' guidelines for messaging want it."""

Json = dict[str, Any]

_PERCENTILES = {"p50": "50.00", "p90": "90.00", "p95": "95.00", "p99": "99.00", "p99.9": "99.90"}

_METRICS = {
    "SingleStream": ("p90 latency, ms", "result_90.00_percentile_latency_ns", 1e-6),
    "MultiStream": (
        f"p99 latency of {SAMPLES} pictures, ms",
        "result_99.00_percentile_per_query_latency_ns",
        1e-6,
    ),
    "Server": ("pictures/s", "result_completed_samples_per_sec", 1.0),
    "Offline": ("pictures/s", "result_samples_per_second", 1.0),
}
"""The figure that each scenario is about: its name, its key in the log, and its factor."""


def scenario_to_json(task: Task, outcome: Outcome) -> Json:
    """Returns what LoadGen said of a scenario."""
    name, key, factor = _METRICS[task.scenario]
    kind = "per_query_latency" if task.scenario == "MultiStream" else "latency"
    return {
        "scenario": task.scenario,
        "valid": outcome.valid,
        "reason": outcome.reason or None,
        "metric": name,
        "value": round(float(outcome.figures[key]) * factor, 4),
        "queries": int(outcome.figures["result_query_count"]),
        "latency_ms": {
            short: round(outcome.ms(f"result_{part}_percentile_{kind}_ns"), 4)
            for short, part in _PERCENTILES.items()
        },
    }


def server_to_json(task: Task, found: Found) -> Json:
    """Returns what the search of Server found."""
    trials = [
        {"rate": round(rate, 3), "valid": valid, "p99_ms": round(p99, 4), "reason": why or None}
        for rate, valid, p99, why in found.trials
    ]
    about = {"target_ms": task.target_ms, "trials": trials}
    if found.outcome is None:
        name = _METRICS[task.scenario][0]
        reason = f"No rate above a tenth of the capacity holds. {found.trials[-1].reason}"
        nothing = {"metric": name, "value": None, "queries": None, "latency_ms": None}
        return {"scenario": task.scenario, "valid": False, "reason": reason} | nothing | about
    return scenario_to_json(task, found.outcome) | about


def make_report(
    model: ModelInfo,
    scenarios: list[Json],
    accuracy: Json | None,
    conditions: Conditions,
    *,
    seconds: float,
    threads: int,
    pictures: int,
    library: str,
) -> Json:
    """Returns the report; docs/benchmarks.md tells its fields."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "note": UNVERIFIED,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_card(),
        "loadgen": library,
        "model": {"name": model.name, "variant": model.variant, "backend": model.backend},
        "threads": threads,
        "pictures": pictures,
        "seconds": round(seconds, 3),
        "conditions": conditions.to_json(),
        "marks": [mark.to_json() for mark in disturbances(conditions, seconds)],
        "scenarios": scenarios,
        "accuracy": accuracy,
    }
