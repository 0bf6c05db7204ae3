"""How a model is run on this machine: as measured fastest, or by a rule where nothing was measured.

What was measured is kept in the model's folder, one file for each machine that shares it; a change
of the model makes the folder anew, so it never outlives the model it is about.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sightbox.atomicfile import write_atomically
from sightbox.backends import BACKENDS
from sightbox.errors import RequestError
from sightbox.machine import (
    cpu_quota,
    instruction_sets,
    processor_name,
    usable_cores,
    wanted_threads,
)
from sightbox.model import EXACT, Model

FOLDER = "tuning"
"""Folder of what was measured, in that of the model."""

GOALS = ("throughput", "latency")
"""What a plan can be best for: most pictures a second, or least time for one."""

PACKAGES = ("sightbox", "numpy", "pillow", "onnxruntime", "openvino", "torch")
"""The packages whose versions change how fast a plan is."""

MAX_BATCH = 4
"""Most pictures in a batch where nothing was measured: on a processor a larger one is no faster,
and its answers wake as many threads at once."""

WORTH = 1.05
"""How many times as fast as an exact plan an inexact one must be to be chosen instead."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How a model is run.

    Attributes:
        backend: Name of a backend.
        variant: Variant of the model.
        threads: Threads of the engine.
        streams: Batches that it runs at the same time.
        max_batch: Most pictures in a batch.
    """

    backend: str
    variant: str
    threads: int
    streams: int
    max_batch: int

    def __str__(self) -> str:
        streams = "1 stream" if self.streams == 1 else f"{self.streams} streams"
        return f"{self.backend} {self.variant}, {streams}, batches up to {self.max_batch}"


@dataclass(frozen=True)
class Row:
    """What was measured of a plan.

    Attributes:
        plan: The plan.
        latency_ms: Median time of one picture while nothing else runs, from bytes to answer.
        images_per_second: Pictures a second for many clients.
        agreement: Part of the pictures that the variant names as the exact one does, 0 to 1; None
            where there is no report of this backend on this kind of processor.
        problem: Why the plan cannot be used; its figures are 0 then.
    """

    plan: Plan
    latency_ms: float
    images_per_second: float
    agreement: float | None
    problem: str | None = None

    def speed(self, goal: str) -> float:
        """Returns how fast the plan is for a goal; more is better."""
        if goal == "throughput" or self.latency_ms == 0:
            return self.images_per_second
        return 1000 / self.latency_ms


@dataclass(frozen=True)
class Tuning:
    """What was measured of a model on a machine.

    Attributes:
        circumstances: What the figures depend on, by name.
        rows: The plans that were tried.
    """

    circumstances: Mapping[str, str]
    rows: tuple[Row, ...]

    def best(
        self,
        goal: str,
        least_agreement: float,
        *,
        backend: str | None = None,
        variant: str | None = None,
    ) -> Row | None:
        """Returns the fastest plan that may be chosen.

        Args:
            goal: One of `GOALS`.
            least_agreement: How far a variant must agree with the exact one, 0 to 1; one that is
                asked for by name need not.
            backend: Only plans with this backend.
            variant: Only plans with this variant.
        """
        usable = [
            row
            for row in self.rows
            if row.problem is None
            and backend in {None, row.plan.backend}
            and (row.plan.variant == variant if variant else _agrees(row, least_agreement))
        ]
        usable.sort(key=lambda row: row.speed(goal), reverse=True)
        exact = next((row for row in usable if row.plan.variant == EXACT), None)
        if exact is not None and exact.speed(goal) * WORTH >= usable[0].speed(goal):
            return exact
        return usable[0] if usable else None

    def changes(self, model: Model) -> list[str]:
        """Returns what is no longer as it was when the figures were taken, in words."""
        now = circumstances(model)
        names = sorted({*now, *self.circumstances})
        return [
            f"{name} was {self.circumstances.get(name, 'unknown')}, is {now.get(name, 'unknown')}"
            for name in names
            if self.circumstances.get(name) != now.get(name)
        ]

    def to_json(self) -> str:
        """Returns it as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tuning":
        """Reads it.

        Raises:
            ValueError: The text is nothing of the kind.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            rows = tuple(Row(**row | {"plan": Plan(**row["plan"])}) for row in fields["rows"])
            tuning = cls(dict(fields["circumstances"]), rows)
            # It decides what answers: it must be able to say so.
            for goal in GOALS:
                tuning.best(goal, 0)
        except (LookupError, TypeError) as error:
            raise ValueError(str(error)) from error
        return tuning


def circumstances(model: Model) -> dict[str, str]:
    """Returns what the speed of a model depends on: machine, packages, files."""
    files = json.dumps(sorted(model.card.files.items()))
    return {
        **_machine(),
        **{package: _version(package) for package in PACKAGES},
        "model": hashlib.sha256(files.encode()).hexdigest()[:16],
    }


def save_tuning(model: Model, tuning: Tuning) -> None:
    """Keeps what was measured of a model on this machine.

    Raises:
        OSError: The model's folder cannot be written.
    """
    if model.folder is not None:
        (model.folder / FOLDER).mkdir(exist_ok=True)
        write_atomically(model.folder / FOLDER / _file(), tuning.to_json().encode())


def load_tuning(model: Model) -> Tuning | None:
    """Returns what was measured of a model on this machine; `Tuning.changes` may be many."""
    if model.folder is None:
        return None
    path = model.folder / FOLDER / _file()
    try:
        return Tuning.from_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read, going on without it: %s", path, error)
        return None


def choose(
    model: Model,
    goal: str = GOALS[0],
    *,
    least_agreement: float = 1.0,
    measured: bool = True,
    **given: Any,  # noqa: ANN401 - fields of a plan
) -> Plan:
    """Returns how to run a model.

    Args:
        model: The model.
        goal: One of `GOALS`.
        least_agreement: How far a faster variant must agree with the exact one, 0 to 1.
        measured: Whether what was measured counts.
        given: Fields of the plan that are decided already; None means that they are not.

    Raises:
        RequestError: There is no such goal, or a number is below 1.
    """
    if goal not in GOALS:
        raise RequestError(f"There is no goal {goal!r}.", f"There are {' and '.join(GOALS)}.")
    # What the environment wants stands first, for whoever gives a number means it.
    wanted = [("threads", wanted_threads()), *given.items()]
    fixed = {name: value for name, value in wanted if value is not None}
    for name, value in fixed.items():
        if isinstance(value, int) and value < 1:
            raise RequestError(f"{name} is {value}; it must be at least 1.")
    tuning = load_tuning(model) if measured else None
    row = None
    if tuning is not None and not tuning.changes(model):
        row = tuning.best(
            goal, least_agreement, backend=fixed.get("backend"), variant=fixed.get("variant")
        )
    plan = row.plan if row else Plan(BACKENDS[0], EXACT, usable_cores(), 1, MAX_BATCH)
    return replace(plan, **fixed)


def advice(model: Model) -> str | None:
    """Returns what a person could do for more speed, or None."""
    tuning = load_tuning(model)
    if model.folder is None:
        return None
    if tuning is None:
        return "Not measured on this machine yet. For the fastest way: sightbox tune"
    changes = tuning.changes(model)
    return f"Measured under other circumstances ({changes[0]}): sightbox tune" if changes else None


def _agrees(row: Row, least: float) -> bool:
    return row.plan.variant == EXACT or (row.agreement is not None and row.agreement >= least)


def _machine() -> dict[str, str]:
    return {
        "processor": processor_name(),
        "instruction sets": " ".join(instruction_sets()),
        "cores": str(usable_cores()),
        "quota": str(cpu_quota()),
    }


def _file() -> str:
    digest = hashlib.sha256(json.dumps(_machine()).encode()).hexdigest()
    return f"{digest[:12]}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
