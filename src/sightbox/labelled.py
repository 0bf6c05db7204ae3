"""Pictures whose right class is known: from their folders, their names, or a table."""

import csv
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


def read_table(file: Path, folder: Path, labels: Labels) -> Iterator[Labelled]:
    """Yields the pictures of a CSV table (RFC 4180) with the columns ``path`` and ``class``.

    Args:
        file: The table, UTF-8.
        folder: Where its paths begin.
        labels: The model's; a class is a WordNet id, a name in any language, or a number.

    Raises:
        RequestError: The table cannot be read, lacks a column, or names a class that is unknown.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if not {"path", "class"} <= set(rows.fieldnames or ()):
                raise RequestError(f"The table {file} needs a first line with path and class.")
            for row in rows:
                word = (row["class"] or "").strip()
                target = _known(word, labels)
                if target is None or not row["path"]:
                    raise RequestError(
                        f"Line {rows.line_num} of {file} names the class {word!r}, "
                        "which the model does not know."
                    )
                yield Labelled(folder / row["path"], target)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"The table {file} cannot be read: {reason}.") from error


def _known(word: str, labels: Labels) -> int | None:
    found = labels.find(word)
    if found is None and word.isascii() and word.isdigit() and int(word) < len(labels):
        return int(word)
    return found
