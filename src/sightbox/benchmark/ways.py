"""Which ways there are to run a model here, and a whole run over all of them."""

from collections.abc import Iterator
from importlib.util import find_spec

from sightbox.benchmark.beside import STEP, measure_beside
from sightbox.benchmark.conditions import Watch
from sightbox.benchmark.measuring import FULL, Effort, Progress, measure
from sightbox.benchmark.probe import Way
from sightbox.benchmark.processes import Process
from sightbox.benchmark.report import Json, make_report
from sightbox.benchmark.workload import mountain_files
from sightbox.model import EXACT, Model, report_file
from sightbox.plan import choose
from sightbox.store import Store

REFERENCE = Way("onnxruntime")
"""The way whose answers are right: the exact network, on the backend that all others are tested
against."""

PICTURES = 16
"""Pictures whose answers are compared with those of the reference."""

_RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "pytorch": "torch"}
_VARIANTS = {
    "onnxruntime": ("int8",),
    "openvino": ("int8", "bf16"),
    "pytorch": ("bf16",),
}
"""What each backend can run beside the exact network, where the model has it."""

_ACCELERATORS = ("cuda", "mps")
"""Devices of torch: where there is none, the row says so."""


def bench(
    store: Store, model: Model, effort: Effort = FULL, progress: Progress = lambda *_: None
) -> Json:
    """Measures all ways to run a model here, and returns the report.

    Args:
        store: Where the model is.
        model: The model.
        effort: How long.
        progress: Is told each step.
    """
    watch = Watch()
    side = model.card.recipe.crop
    pictures = list(mountain_files(PICTURES, side))
    ways = list(ways_here(model, with_torch=effort == FULL))
    subjects = [Process(model.card.name, str(store.home), way, pictures) for way in ways]
    steps = 1

    def tell(step: str, done: int, total: int) -> None:
        nonlocal steps
        # One more is to come.
        steps = total + 1
        progress(step, done, steps)

    measured = measure(subjects, effort, tell)
    conditions = watch.conditions()
    plan = choose(model)
    report = make_report(
        measured,
        model,
        effort,
        conditions,
        reference=str(REFERENCE),
        chosen=str(Way(plan.backend, plan.variant)),
        side=side,
    )
    progress(STEP, steps - 1, steps)
    return report | measure_beside(store, model, report["rows"], with_torch=effort == FULL)


def ways_here(model: Model, *, with_torch: bool) -> Iterator[Way]:
    """Yields the ways, the reference first.

    Args:
        model: The model; variants that it does not have are no ways.
        with_torch: Whether those of torch are among them, where it is installed.
    """
    for backend, runtime in _RUNTIMES.items():
        if find_spec(runtime) is None or (backend == "pytorch" and not with_torch):
            continue
        yield Way(backend)
        for variant in _VARIANTS[backend]:
            if report_file(variant) in model.card.files:
                yield Way(backend, variant)
        if backend == "pytorch":
            yield from (Way(backend, EXACT, device) for device in _ACCELERATORS)
