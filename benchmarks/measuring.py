"""What all benchmarks share: the machine's card, figures of samples, the table, the JSON file."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import sightbox
from sightbox.machine import cpu_quota, instruction_sets, processor_name, usable_cores

PACKAGES = (
    "numpy",
    "pillow",
    "onnxruntime",
    "openvino",
    "torch",
    "torchvision",
    "flask",
    "waitress",
    "litserve",
    "mosec",
)
"""What the measured programs are made of."""

Json = dict[str, Any]

console = Console(width=None if sys.stdout.isatty() else 120)


def machine() -> Json:
    """Returns the card of the machine: call it before the work, for its load average."""
    return {
        "processor": processor_name(),
        "instruction_sets": list(instruction_sets()),
        "cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {"sightbox": sightbox.__version__, **_versions()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def missing(modules: Iterable[str]) -> list[str]:
    """Returns those of the modules that are not installed."""
    return [module for module in modules if find_spec(module) is None]


def percentile(samples: Sequence[float], part: float) -> float:
    """Returns the sample below or at which this part (0 to 1) of all samples are (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def figures(samples: Sequence[float]) -> Json:
    """Returns median, 95th and 99th percentile, and spread of samples, and how many there are.

    The spread is the distance between the quartiles as a part of the median.
    """
    median = statistics.median(samples)
    between = percentile(samples, 0.75) - percentile(samples, 0.25)
    return {
        "median": round(median, 4),
        "p95": round(percentile(samples, 0.95), 4),
        "p99": round(percentile(samples, 0.99), 4),
        "spread": round(between / median, 4) if median else 0.0,
        "samples": len(samples),
    }


def ratio(value: float, base: float | None) -> float | None:
    """Returns how many times `base` a value is; None where there is no base."""
    return round(value / base, 3) if base else None


def told(value: float | None, form: str = ".1f", unit: str = "") -> str:
    """Spells a number for a table, and a dash where there is none."""
    return "-" if value is None else f"{value:{form}}{unit}"


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; all columns but the first hold numbers."""
    table = Table(title=title, title_justify="left")
    for column, name in enumerate(head):
        table.add_column(name, justify="left" if column == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def keep(result: Json, file: Path | None) -> None:
    """Writes a result as JSON, if a file is named."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        console.print(f"The figures are in {file}.")
