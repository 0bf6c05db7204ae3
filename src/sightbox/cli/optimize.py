"""``sightbox models optimize``: makes the int8 variant, and tells how far it agrees."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from sightbox.agreement import Agreement, Logits
from sightbox.backends import Pixels, create_backend
from sightbox.cli.pictures import PICTURE_SUFFIXES, find_items
from sightbox.cli.screen import console, print_rows
from sightbox.errors import ImageError, ModelError
from sightbox.image import decode_image
from sightbox.machine import usable_cores
from sightbox.model import GRAPH, Model
from sightbox.preprocessing import Recipe, prepare
from sightbox.quantization import Engine, optimize
from sightbox.settings import load_settings
from sightbox.store import Store

VARIANT = "int8"

BATCH = 8


def run(name: str | None, images: Path | None) -> int:
    """Makes the variant and prints its report; returns 1 when it agrees too little."""
    settings = load_settings()
    store = Store(settings.home)
    model = store.open(name)
    if model.folder is None:
        raise ModelError("A variant needs a home that can be written to.")
    screen = console()
    pictures = None if images is None else _pictures(images, model.card.recipe, screen)
    with screen.status("Beginning") as status:
        graph, agreement = optimize(
            model,
            pictures,
            {settings.backend: _engine(settings.backend, model)},
            least_top1=settings.least_agreement,
            progress=lambda step: status.update(step.capitalize()),
        )
    store.add_variant(model, VARIANT, graph, agreement.to_json())
    print_rows(screen, _rows(agreement))
    if not agreement.passes(settings.least_agreement):
        least = f"{settings.least_agreement:.1%}"
        screen.print(f"That is less than the setting least_agreement asks for, {least}.")
        return 1
    use = f"sightbox classify --model {model.card.name} --variant {VARIANT} cat.jpg"
    screen.print(f"Use it: {use}")
    return 0


def _pictures(folder: Path, recipe: Recipe, screen: Console) -> Iterator[Pixels]:
    for item in find_items([str(folder)], recursive=True, suffixes=PICTURE_SUFFIXES):
        try:
            if isinstance(item.picture, ImageError):
                raise item.picture
            content = item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()
            yield prepare(decode_image(content).pixels, recipe)
        except (ImageError, OSError) as error:
            screen.print(f"{item.name} is left out: {error}")


def _engine(name: str, model: Model) -> Engine:
    """Returns what runs a graph on a backend, in batches."""

    def run_graph(graph: bytes, pictures: Pixels) -> Logits:
        backend = create_backend(name)
        backend.load(replace(model, folder=None, contents={GRAPH: graph}), usable_cores())
        batches = (pictures[at : at + BATCH] for at in range(0, len(pictures), BATCH))
        logits = np.concatenate([backend.run(batch)["logits"] for batch in batches])
        backend.close()
        return logits

    return run_graph


def _rows(agreement: Agreement) -> list[tuple[str, str]]:
    rows = [
        ("pictures compared", f"{agreement.images} ({agreement.pictures})"),
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
