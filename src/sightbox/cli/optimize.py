"""``sightbox models optimize``: makes a faster variant, and tells how far it agrees."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console

from sightbox.agreement import Agreement, Logits
from sightbox.backends import Pixels, create_backend
from sightbox.cli.pictures import PICTURE_SUFFIXES, find_items
from sightbox.cli.screen import console, print_rows
from sightbox.errors import ImageError, ModelError, RequestError
from sightbox.image import decode_image
from sightbox.labelled import class_of
from sightbox.labels import Labels
from sightbox.machine import usable_cores
from sightbox.model import EXACT, GRAPH, Model
from sightbox.preprocessing import Recipe, prepare
from sightbox.quantization import CALIBRATING, COMPARED, PRECISIONS, Engine, Sample, optimize
from sightbox.settings import Settings, load_settings
from sightbox.store import Store

BATCH = 8

_BACKENDS = {"int8": ("onnxruntime", "openvino"), "bf16": ("openvino",)}
"""What runs each precision on a processor."""


def run(name: str | None, images: Path | None, precision: str) -> int:
    """Makes the variant and prints its report; returns 1 when it agrees too little."""
    if precision not in PRECISIONS:
        raise RequestError(
            f"There is no precision {precision!r}.", f"There are {' and '.join(PRECISIONS)}."
        )
    settings = load_settings()
    store = Store(settings.home)
    model = store.open(name)
    if model.folder is None:
        raise ModelError("A variant needs a home that can be written to.")
    screen = console()
    labels = model.card.load_labels(store.home / "labels")
    samples = None if images is None else _samples(images, model.card.recipe, labels, screen)
    agreement = add_variant(store, model, precision, samples, settings, screen)
    print_rows(screen, _rows(agreement))
    if not agreement.passes(settings.least_agreement):
        least = f"{settings.least_agreement:.1%}"
        screen.print(f"That is less than the setting least_agreement asks for, {least}.")
        return 1
    use = f"sightbox classify --model {model.card.name} --variant {precision} cat.jpg"
    screen.print(f"Use it: {use}")
    return 0


def add_variant(
    store: Store,
    model: Model,
    precision: str,
    samples: Iterator[Sample] | None,
    settings: Settings,
    screen: Console,
) -> Agreement:
    """Makes a variant, measures it on the backends it is for, and stores it with its report."""
    backends = [settings.backend] if settings.backend else _installed(precision)
    variant = "bf16" if precision == "bf16" else EXACT  # int8 is the graph's own
    with screen.status("Beginning") as status:
        graph, agreement = optimize(
            model,
            samples,
            {backend: _engine(backend, variant, model) for backend in backends},
            precision=precision,
            least_top1=settings.least_agreement,
            progress=lambda step: status.update(f"{precision}: {step}"),
        )
    store.add_variant(model, precision, graph, agreement.to_json())
    return agreement


def _installed(precision: str) -> list[str]:
    return [backend for backend in _BACKENDS[precision] if find_spec(backend) is not None]


def _samples(folder: Path, recipe: Recipe, labels: Labels, screen: Console) -> Iterator[Sample]:
    """Yields pictures of a folder, evenly taken from all of it, with their classes."""
    items = find_items([str(folder)], recursive=True, suffixes=PICTURE_SUFFIXES)
    for item in items[:: max(1, len(items) // (CALIBRATING + COMPARED))]:
        try:
            if isinstance(item.picture, ImageError):
                raise item.picture
            content = item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()
            yield prepare(decode_image(content).pixels, recipe), class_of(Path(item.name), labels)
        except (ImageError, OSError) as error:
            screen.print(f"{item.name} is left out: {error}")


def _engine(name: str, variant: str, model: Model) -> Engine:
    """Returns what runs a graph on a backend, in batches."""

    def run_graph(graph: bytes, pictures: Pixels) -> Logits:
        backend = create_backend(name)
        whole = replace(model, folder=None, contents={GRAPH: graph})
        backend.load(whole, usable_cores(), variant)
        batches = (pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH))
        logits = np.concatenate([backend.run(batch)["logits"] for batch in batches])
        backend.close()
        return logits

    return run_graph


def _rows(agreement: Agreement) -> list[tuple[str, str]]:
    rows = [
        ("pictures compared", f"{agreement.images} ({agreement.pictures})"),
        ("computed by", ", ".join(agreement.engines)),
        ("same first class as fp32", f"{agreement.top1:.1%}"),
        ("same five classes as fp32", f"{agreement.top5:.1%}"),
        ("mean change of a probability", f"{agreement.mean_change:.4f}"),
        ("largest change of a probability", f"{agreement.largest_change:.4f}"),
        ("convolutions left in float", str(agreement.float_convolutions)),
    ]
    if agreement.accuracy_before is not None and agreement.accuracy_after is not None:
        accuracy = f"{agreement.accuracy_before:.1%} before, {agreement.accuracy_after:.1%} after"
        rows.append(("accuracy", accuracy))
    return rows
