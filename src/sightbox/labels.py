"""Class number to WordNet id to name, in every language there is a file for.

A label set is a folder with ``wnids.json`` (the WordNet id of each class, in class order) and one
``<language>.json`` for each language, an object of names keyed by WordNet id. A person's own file
of the same form overrides single names or adds a language.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from sightbox.errors import LabelError

BUILT_IN = files("sightbox") / "data" / "labels"


@dataclass(frozen=True)
class Labels:
    """The names of a model's classes.

    Attributes:
        wnids: WordNet id of each class, in class order; None where a class has none.
        names: For each language code, the name of each class, in class order.
    """

    wnids: tuple[str | None, ...]
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.wnids)

    @property
    def languages(self) -> tuple[str, ...]:
        """The language codes, English first."""
        return tuple(sorted(self.names, key=lambda code: (code != "en", code)))

    def of(self, index: int) -> dict[str, str]:
        """Returns the name of a class in each language."""
        return {code: self.names[code][index] for code in self.languages}

    def find(self, word: str) -> int | None:
        """Returns the class with this WordNet id or name in any language, or None."""
        for words in (self.wnids, *self.names.values()):
            if word in words:
                return words.index(word)
        return None


def load_labels(name: str, own: Path | None = None) -> Labels:
    """Loads the built-in label set `name`, with the files of the folder `own` laid over it.

    Args:
        name: Name of the set, such as ``imagenet-1k``.
        own: A folder with ``<language>.json`` files, or None. It need not exist.

    Raises:
        LabelError: There is no such set, or a file does not fit it.
    """
    folder = BUILT_IN / name
    if not folder.is_dir():
        raise LabelError(f"There is no label set {name!r}.")
    wnids = json.loads((folder / "wnids.json").read_text("utf-8"))
    tables = {
        Path(file.name).stem: json.loads(file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".json") and file.name != "wnids.json"
    }
    for file in sorted(own.glob("*.json")) if own is not None else ():
        table = _read_table(file, frozenset(wnids))
        tables[file.stem] = tables.get(file.stem, tables["en"]) | table
    names = {code: tuple(table[wnid] for wnid in wnids) for code, table in tables.items()}
    return Labels(tuple(wnids), names)


def own_labels(names: Sequence[str]) -> Labels:
    """Returns labels of a model with classes of its own: one name each, no WordNet ids.

    Raises:
        LabelError: A name is empty or occurs twice.
    """
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not isinstance(name, str) or not name.strip():
            raise LabelError(f"The name of class {number} is empty.")
        if name in seen:
            raise LabelError(f"The class name {name!r} occurs twice.")
        seen.add(name)
    return Labels((None,) * len(names), {"en": tuple(names)})


def read_names(path: Path) -> tuple[str, ...]:
    """Reads names of own classes: a JSON list, or a text file with one name a line.

    Raises:
        LabelError: The file cannot be read or holds no names; or one is empty or occurs twice.
    """
    try:
        text = path.read_text("utf-8-sig")
        names = json.loads(text) if path.suffix == ".json" else text.rstrip().splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise LabelError(f"The label file {path} cannot be read: {error}.") from error
    if not isinstance(names, list) or not names:
        raise LabelError(f"The label file {path} is no list of names.")
    return own_labels(names).names["en"]


def numbered_labels(classes: int) -> Labels:
    """Returns labels for `classes` classes of which no names are known: ``class 0``, ..."""
    return own_labels([f"class {number}" for number in range(classes)])


def _read_table(file: Path, wnids: frozenset[str]) -> dict[str, str]:
    try:
        table: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"The label file {file} cannot be read: {error}.") from error
    if not isinstance(table, dict) or not all(
        isinstance(name, str) and name.strip() for name in table.values()
    ):
        raise LabelError(f"The label file {file} is no object of names keyed by WordNet id.")
    unknown = sorted(set(table) - wnids)
    if unknown:
        raise LabelError(
            f"The label file {file} names {len(unknown)} unknown ids, such as {unknown[0]!r}.",
            "Keys are WordNet ids such as n02123045.",
        )
    return table
