"""Small models on disk for the dummy backend; each answers with another number of classes."""

from dataclasses import replace
from pathlib import Path

from sightbox.catalogue import EMBEDDED, known
from sightbox.model import GRAPH, graph_file, report_file, seal, write_model

SIDE = 8
GRAPH_BYTES = 1_000_000
CLASSES = {"first": 5, "north": 7, "east": 11, "south": 13, "west": 17}


def put_model(
    home: Path,
    name: str,
    classes: int,
    size: int = GRAPH_BYTES,
    variants: tuple[str, ...] = (),
) -> None:
    """Writes a model whose graphs, the exact one and its `variants`, have `size` empty bytes."""
    card = known(EMBEDDED).card
    recipe = replace(card.recipe, resize=SIDE, crop=SIDE)
    names = tuple(f"{name} {number}" for number in range(classes))
    card = replace(card, name=name, classes=classes, recipe=recipe, labels=None, names=names)
    (home / "models").mkdir(parents=True, exist_ok=True)
    files = {GRAPH: bytes(size)} | {graph_file(one): bytes(size) for one in variants}
    files |= {report_file(one): b"{}" for one in variants}
    write_model(seal(card, files), home / "models")


def put_models(home: Path) -> None:
    """Writes the models of `CLASSES`."""
    for name, classes in CLASSES.items():
        put_model(home, name, classes)
