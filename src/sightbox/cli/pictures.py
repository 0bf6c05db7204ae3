"""Finds what the arguments name: files, folders, patterns, standard input."""

import os
import stat
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from sightbox.errors import ImageError, RequestError
from sightbox.pictures import MAX_FILE_BYTES

STDIN = "-"

PICTURE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".webp")
)
"""What is looked at in a folder; a file that is named itself may be called anything."""


@dataclass(frozen=True)
class Item:
    """One thing to answer: its name, and the picture, or what is wrong with it already."""

    name: str
    picture: Path | bytes | ImageError


def find_items(
    arguments: Sequence[str], *, recursive: bool, suffixes: AbstractSet[str]
) -> list[Item]:
    """Returns an item for each picture, those of a folder in the order of their names.

    A file that is named itself is taken whatever its suffix, also when it does not exist: then
    its own answer says so. A folder that cannot be read, and an argument that names no picture
    beside others that do, is an item too.

    Raises:
        RequestError: No argument names a picture, or standard input is named twice.
    """
    if arguments.count(STDIN) > 1:
        raise RequestError("Standard input can be read once: give one '-'.")
    found = [_expand(argument, recursive, suffixes) for argument in arguments]
    hint = "" if recursive else "Folders of folders are looked into with -r."
    if not any(found):
        raise RequestError(f"There are no pictures in {', '.join(arguments)}.", hint)
    return [
        item
        for argument, items in zip(arguments, found, strict=True)
        for item in items or [Item(argument, _nothing(argument, hint))]
    ]


def _expand(argument: str, recursive: bool, suffixes: AbstractSet[str]) -> list[Item]:
    if argument == STDIN:
        return [Item(STDIN, _read_stdin())]
    path = Path(argument)
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        return _in_folder(path, recursive, suffixes)
    if not mode and has_magic(argument):
        # A shell that does not expand patterns (Windows), or a quoted one.
        return _fitting(argument)
    return [Item(str(path), path)]


def _nothing(argument: str, hint: str) -> ImageError:
    if stat.S_ISDIR(_mode(Path(argument))):
        return ImageError("There are no pictures in this folder.", hint)
    return ImageError("There is no such file, and none that fits the pattern.")


def _in_folder(folder: Path, recursive: bool, suffixes: AbstractSet[str]) -> list[Item]:
    items = []

    def refuse(error: OSError) -> None:
        reason = ImageError(f"The folder cannot be read: {error.strerror}.")
        items.append(Item(str(error.filename), reason))

    for root, folders, files in os.walk(folder, onerror=refuse):
        if not recursive:
            folders.clear()
        paths = [Path(root, name) for name in files if not name.startswith(".")]
        items += [
            Item(str(path), path)
            for path in paths
            # Of a file that cannot be looked at, its own answer says why.
            if path.suffix.lower() in suffixes and (stat.S_ISREG(_mode(path)) or not _mode(path))
        ]
    return sorted(items, key=lambda item: Path(item.name))


def _fitting(pattern: str) -> list[Item]:
    names = glob(pattern, recursive=True)  # noqa: PTH207 - `Path.glob` takes no absolute one
    if "**" in pattern:
        # Links that lead in a circle give a file many names; the shortest one is kept.
        by_file = {os.path.realpath(name): name for name in sorted(names, key=len, reverse=True)}
        names = list(by_file.values())
    paths = [Path(name) for name in sorted(names)]
    return [Item(str(path), path) for path in paths if not stat.S_ISDIR(_mode(path))]


def _mode(path: Path) -> int:
    """Returns the file's type and permissions; 0 when it cannot be looked at."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _read_stdin() -> bytes | ImageError:
    if sys.stdin is None:
        return ImageError(
            "Standard input is closed.", "Give a picture: sightbox classify - < cat.jpg"
        )
    try:
        content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return ImageError(f"Standard input cannot be read: {error.strerror}.")
    if len(content) > MAX_FILE_BYTES:
        return ImageError(
            f"Standard input has more than {MAX_FILE_BYTES:,} bytes.", "Is it a picture?"
        )
    return content
