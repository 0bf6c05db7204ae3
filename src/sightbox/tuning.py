"""Finds the fastest way to run a model on this machine, by measuring it as it will be used.

Each plan is tried through a whole `Classifier`, from the bytes of a JPEG to the answer: decoding
and the engine share the cores, and what is fastest alone is not always fastest beside the other.
"""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from statistics import median
from time import perf_counter
from typing import Self

from PIL import Image

from sightbox.agreement import Agreement
from sightbox.classifier import Classifier
from sightbox.drawing import calibration_pictures
from sightbox.errors import ModelError, SightboxError
from sightbox.machine import instruction_sets, usable_cores
from sightbox.model import EXACT, Model, report_file
from sightbox.plan import MAX_BATCH, Plan, Row, Tuning, circumstances, save_tuning
from sightbox.prediction import Prediction
from sightbox.store import Store

CLIENTS = 16
"""Clients that ask at the same time where throughput is measured."""

PHOTO = (500, 375)
"""Width and height of the drawn photos, px: the usual size in ImageNet."""

PHOTOS = 8
QUALITY = 92
"""JPEG quality of the drawn photos; they have about 110 KB, as photos of that size have."""

FINALISTS = 3
"""Plans that are measured once more, in turn, before one of them is chosen."""

TOLERANCE = 1e-3
"""Largest difference of a score between two exact plans."""

_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "pytorch": "torch"}
_VARIANTS = {
    "onnxruntime": (EXACT, "int8"),
    "openvino": (EXACT, "int8", "bf16"),
    "pytorch": (EXACT, "bf16"),
}
"""What each backend can run, as far as it is worth a try."""

Progress = Callable[[str, int, int], None]
"""Is told what is measured now, how many plans were measured, and of how many."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        backends: The backends to try, if they are installed.
        seconds: How long each plan answers for one client, and then for many.
        shapes: How many pairs of backend and variant are tried in other shapes than the usual one.
        batches: The batch sizes that are tried.
        finals: How often the finalists are measured once more.
    """

    backends: tuple[str, ...]
    seconds: float
    shapes: int
    batches: tuple[int, ...]
    finals: int


QUICK = Effort(("onnxruntime", "openvino"), 0.7, 2, (1, 8, 16), 2)
"""About half a minute on two cores."""

FULL = Effort(("onnxruntime", "openvino", "pytorch"), 2.0, 99, (1, 2, 8, 16, 32), 5)


def tune(
    store: Store, model: Model, effort: Effort = QUICK, progress: Progress = lambda *_: None
) -> Tuning:
    """Measures how a model runs fastest here, and keeps it for `sightbox.plan.choose`.

    Args:
        store: Where the model is.
        model: The model.
        effort: How long to measure.
        progress: Is told each plan before it is measured.

    Raises:
        ModelError: The model lives in memory alone, or its folder cannot be written.
    """
    if model.folder is None:
        raise ModelError("What is measured needs a home that can be written to.")
    with _Contest(store, model, effort, progress) as contest:
        rows = contest.run()
    tuning = Tuning(circumstances(model), rows)
    try:
        save_tuning(model, tuning)
    except OSError as error:
        raise ModelError(f"{model.folder} cannot be written: {error.strerror}.") from error
    return tuning


class _Contest:
    """Measures plans, and remembers every figure."""

    def __init__(self, store: Store, model: Model, effort: Effort, progress: Progress) -> None:
        self._store, self._model = store, model
        self._effort, self._progress = effort, progress
        self._photos = list(_photos())
        self._found: dict[Plan, list[Row]] = {}
        self._expected: dict[int, float] | None = None
        self._stop = threading.Event()
        self._clients = ThreadPoolExecutor(max(CLIENTS, 4 * usable_cores()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._clients.shutdown()

    def run(self) -> tuple[Row, ...]:
        """Tries every pair of backend and variant, then the best ones in more shapes."""
        self._measure(list(self._usual()))
        self._measure(list(self._shapes(self._best(self._effort.shapes, _pair))))
        finalists = self._best(FINALISTS, lambda plan: plan)
        for _ in range(self._effort.finals):
            self._measure(finalists)
        return tuple(_middle(rows) for rows in self._found.values())

    def _usual(self) -> Iterator[Plan]:
        for backend in self._effort.backends:
            if find_spec(_RUNTIMES[backend]) is None:
                continue
            for variant in _VARIANTS[backend]:
                if _is_here(self._model, variant):
                    yield Plan(backend, variant, usable_cores(), 1, MAX_BATCH)

    def _shapes(self, plans: Iterable[Plan]) -> Iterator[Plan]:
        cores = usable_cores()
        for plan in plans:
            streams = sorted({1, 2, cores}) if cores > 1 else [1]
            for count, batch in product(streams, (MAX_BATCH, *self._effort.batches)):
                shape = replace(plan, streams=count, max_batch=batch)
                if shape not in self._found:
                    yield shape

    def _best(self, count: int, kind: Callable[[Plan], object]) -> list[Plan]:
        """Returns the fastest plans, one of each kind; an exact one is always among them."""
        rows = [_middle(rows) for rows in self._found.values()]
        rows = sorted((row for row in rows if row.problem is None), key=_speed, reverse=True)
        firsts = {kind(row.plan): row.plan for row in reversed(rows)}
        plans = sorted(firsts.values(), key=[row.plan for row in rows].index)
        exact = [plan for plan in plans if plan.variant == EXACT]
        return list(dict.fromkeys(plans[:count] + exact[:1]))

    def _measure(self, plans: Sequence[Plan]) -> None:
        for number, plan in enumerate(plans):
            self._progress(str(plan), number, len(plans))
            self._found.setdefault(plan, []).append(self._row(plan))

    def _row(self, plan: Plan) -> Row:
        agreement = 1.0 if plan.variant == EXACT else _agreement(self._model, plan)
        try:
            with Classifier(
                self._model.card.name,
                plan.backend,
                variant=plan.variant,
                home=self._store.home,
                threads=plan.threads,
                streams=plan.streams,
                max_batch=plan.max_batch,
            ) as classifier:
                self._check(plan, classifier.classify(self._photos[0]))
                latency = self._latency(classifier)
                return Row(plan, latency, self._throughput(classifier), agreement)
        except SightboxError as error:
            return Row(plan, 0, 0, agreement, str(error))

    def _check(self, plan: Plan, answer: Prediction) -> None:
        """Compares an exact plan's answer with that of the first one: a wrong one cannot win."""
        if plan.variant != EXACT:
            return
        scores = {score.index: score.score for score in answer.predictions}
        self._expected = self._expected or scores
        for index, score in self._expected.items():
            if abs(scores.get(index, 0) - score) > TOLERANCE:
                raise ModelError(f"The answer is another than that of {next(iter(self._found))}.")

    def _latency(self, classifier: Classifier) -> float:
        """Returns the median time of a picture for one client, in milliseconds."""
        times: list[float] = []
        end = perf_counter() + self._effort.seconds
        while perf_counter() < end or len(times) < PHOTOS:
            start = perf_counter()
            classifier.classify(self._photos[len(times) % PHOTOS])
            times.append(1000 * (perf_counter() - start))
        return median(times)

    def _throughput(self, classifier: Classifier) -> float:
        """Returns the pictures a second for many clients, the first of which only warm it up."""
        done: list[float] = []

        def ask(first: int) -> None:
            number = first
            while not self._stop.is_set() and not ended.is_set():
                classifier.classify(self._photos[number % PHOTOS])
                done.append(perf_counter())
                number += 1

        ended = threading.Event()
        begun = perf_counter() + self._effort.seconds / 4
        calls = [self._clients.submit(ask, first) for first in range(CLIENTS)]
        try:
            ended.wait(1.25 * self._effort.seconds)
        finally:
            ended.set()
        until = perf_counter()
        for call in calls:
            call.result()
        return sum(begun <= moment <= until for moment in done) / (until - begun)


def _photos() -> Iterator[bytes]:
    width, height = PHOTO
    for pixels in calibration_pictures(PHOTOS, width, seed=1):
        file = io.BytesIO()
        Image.fromarray(pixels[:height]).save(file, "JPEG", quality=QUALITY)
        yield file.getvalue()


def _is_here(model: Model, variant: str) -> bool:
    """Tells whether a variant is exact, or was compared with the exact one."""
    return variant == EXACT or report_file(variant) in model.card.files


def _agreement(model: Model, plan: Plan) -> float | None:
    report = Agreement.from_json(model.read(report_file(plan.variant)))
    is_of_here = (
        plan.backend in report.engines and tuple(report.instruction_sets) == instruction_sets()
    )
    return report.top1 if is_of_here else None


def _pair(plan: Plan) -> tuple[str, str]:
    return plan.backend, plan.variant


def _speed(row: Row) -> float:
    return row.images_per_second


def _middle(rows: Sequence[Row]) -> Row:
    """Returns the median figures of one plan; what failed once counts as failed."""
    failed = next((row for row in rows if row.problem is not None), None)
    return failed or replace(
        rows[0],
        latency_ms=median(row.latency_ms for row in rows),
        images_per_second=median(row.images_per_second for row in rows),
    )
