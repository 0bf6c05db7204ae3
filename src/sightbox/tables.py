"""Tables that tell the right class of pictures: CSV, and the forms of ImageNet's validation set."""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sightbox.errors import RequestError
from sightbox.labelled import Labelled
from sightbox.labels import Labels

VALIDATION_FILE = "ILSVRC2012_val_{:08}.JPEG"
"""How ImageNet names the files of its validation set, by their numbers from 1."""

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
"""The file of ImageNet's development kit that numbers the classes in an order of the kit's own."""

KIT_CLASSES = "map_clsloc.txt"
"""The file that tells this order; the kits of later years have it, of the same classes."""

_PICTURE_AND_CLASS = re.compile(r"(?i)(.+\.(?:jpe?g|png|webp|bmp|gif|tiff?))[ \t]+(\S.*)")


class _Line(NamedTuple):
    """A line of a table: its number from 1, the picture, and the word for its class."""

    number: int
    path: str
    word: str


def read_table(file: Path, folder: Path, labels: Labels) -> Iterator[Labelled]:
    """Yields the pictures of a table; one line is held at a time.

    It is a CSV (RFC 4180) with the columns ``path`` and ``class``, or with ``ImageId`` and
    ``PredictionString`` as Kaggle's ``LOC_val_solution.csv``; or has lines of a path and a class,
    as Caffe's ``val.txt``; or of a class alone, for the files of ImageNet's validation set by their
    numbers.

    Args:
        file: The table, UTF-8.
        folder: Where its paths begin.
        labels: The model's; a class is a WordNet id, a name in any language, or a number from 0.

    Raises:
        RequestError: The table cannot be read, lacks a column, or names a class that is unknown.
    """
    try:
        kit = _kit_classes(file) if file.name == GROUND_TRUTH else {}
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, path, word in _lines(file, lines, labels):
                target = _known(kit.get(word, "") if kit else word, labels)
                if target is None or not path:
                    raise RequestError(
                        f"Line {number} of {file} names the class {word!r}, "
                        "which the model does not know."
                    )
                yield Labelled(folder / path, target)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"The table {file} cannot be read: {reason}.") from error


def _lines(file: Path, lines: Iterator[str], labels: Labels) -> Iterator[_Line]:
    """Yields the lines of a table whose form is told by the first one."""
    first = next(lines, "")
    every = itertools.chain([first], lines)
    columns = set(next(csv.reader([first]), []))
    if {"path", "class"} <= columns:
        return _columns(every, "path", "class")
    if {"ImageId", "PredictionString"} <= columns:
        # A class and the corners of a box, for each thing that is seen.
        kaggle = _columns(every, "ImageId", "PredictionString")
        return (_Line(one.number, f"{one.path}.JPEG", one.word.split(" ")[0]) for one in kaggle)
    if _PICTURE_AND_CLASS.fullmatch(first.strip()):
        return _pairs(every)
    if _known(first.strip(), labels) is not None:
        return _classes(every)
    raise RequestError(
        f"The table {file} needs a first line with path and class.",
        "Other forms are told on the page docs/evaluation.md.",
    )


def _columns(lines: Iterable[str], path: str, word: str) -> Iterator[_Line]:
    rows = csv.DictReader(lines)
    for row in rows:
        yield _Line(rows.line_num, row[path] or "", (row[word] or "").strip())


def _pairs(lines: Iterable[str]) -> Iterator[_Line]:
    for number, line in enumerate(lines, 1):
        found = _PICTURE_AND_CLASS.fullmatch(line.strip())
        yield _Line(number, *(found.groups() if found else ("", line.strip())))


def _classes(lines: Iterable[str]) -> Iterator[_Line]:
    for number, line in enumerate(lines, 1):
        yield _Line(number, VALIDATION_FILE.format(number), line.strip())


def _kit_classes(file: Path) -> dict[str, str]:
    """Returns the WordNet id of each class by the number that the kit gives it.

    Raises:
        RequestError: The file that tells it is not there, or is another one.
    """
    beside = file.with_name(KIT_CLASSES)
    try:
        words = [line.split() for line in beside.read_text("utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise RequestError(
            f"{file.name} numbers the classes in an order of its own, and {beside} is not there.",
            f"Lay {KIT_CLASSES} of a later kit beside it, or give another list such as val.txt.",
        ) from error
    if any(len(line) < 2 for line in words):
        raise RequestError(f"{beside} has lines without a WordNet id and a number.")
    return {number: wnid for wnid, number, *_ in words}


def _known(word: str, labels: Labels) -> int | None:
    found = labels.find(word)
    if found is None and word.isascii() and word.isdigit() and int(word) < len(labels):
        return int(word)
    return found
