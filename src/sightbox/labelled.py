"""Pictures whose right class is known: from their folders or their names; see `sightbox.tables`."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from sightbox.errors import RequestError
from sightbox.labels import Labels


class Labelled(NamedTuple):
    """A picture's file and the number of its right class; None where nothing tells it."""

    path: Path
    target: int | None


def class_of(path: Path, labels: Labels) -> int | None:
    """Returns the class that the folder or the beginning of the name tells, if they tell one.

    ``n02123045/7.jpg``, ``tabby/7.jpg`` and ``n02123045_7.jpg`` all are tabbies.
    """
    words = (path.parent.name, path.stem.partition("_")[0])
    return next((found for word in words if (found := labels.find(word)) is not None), None)


def walk(folder: Path, labels: Labels, suffixes: AbstractSet[str]) -> Iterator[Labelled]:
    """Yields the pictures below a folder, in the order of their paths.

    One folder's names are held at a time, never all: ImageNet's validation set has 50,000.

    Raises:
        RequestError: The folder cannot be read.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RequestError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk(path, labels, suffixes)
        elif path.suffix.lower() in suffixes:
            yield Labelled(path, class_of(path, labels))
