"""``sightbox classify``: finds the pictures, streams the answers."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightbox.classifier import Classifier, Picture
from sightbox.cli import output
from sightbox.errors import RequestError, SightboxError
from sightbox.image import ImageLimits
from sightbox.settings import Settings, load_settings

STDIN = "-"

PICTURE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".webp")
)
"""What is looked at in a folder; a file that is named itself may be called anything."""

PIXELS_PER_MEGAPIXEL = 1_000_000


def form(*, json: bool, jsonl: bool, csv: bool) -> str | None:
    """Returns the one output form that was asked for, or None.

    Raises:
        RequestError: Several were.
    """
    asked = [name for name, on in (("json", json), ("jsonl", jsonl), ("csv", csv)) if on]
    if len(asked) > 1:
        raise RequestError(f"Choose one of --{' and --'.join(asked)}.")
    return asked[0] if asked else None


def run(
    arguments: Sequence[str],
    *,
    recursive: bool,
    language: str,
    form: str | None,
    given: Mapping[str, object],
) -> int:
    """Classifies what the arguments name, prints the answers, and returns the exit code.

    Args:
        arguments: Pictures, folders, patterns, or ``-``.
        recursive: Whether to go into the folders of folders.
        language: ``en``, ``zh`` or ``both``.
        form: ``json``, ``jsonl``, ``csv``, or None for people.
        given: Settings from the command line.

    Raises:
        RequestError: There is no picture.
    """
    settings = load_settings(**given)
    suffixes = PICTURE_SUFFIXES | ({".tif", ".tiff"} if settings.allow_tiff else set())
    paths = find_pictures(arguments, recursive=recursive, suffixes=suffixes)
    screen = output.console()
    writer = output.writer(form, screen, language, single=len(paths) == 1)
    with open_classifier(settings) as classifier, _progress(len(paths), screen) as progress:
        task = progress.add_task("", total=len(paths))
        failed = 0
        results = classifier.classify_many(
            _read(paths), top_k=settings.top_k, min_score=settings.min_score
        )
        with writer:
            for path, result in zip(paths, results, strict=True):
                failed += isinstance(result, SightboxError)
                writer.write(str(path), result)
                progress.advance(task)
    return 1 if failed else 0


def open_classifier(settings: Settings) -> Classifier:
    """Returns the classifier that the settings describe."""
    limits = ImageLimits(max_pixels=int(settings.max_megapixels * PIXELS_PER_MEGAPIXEL))
    if settings.allow_tiff:
        limits = ImageLimits(limits.max_pixels, (*limits.formats, "TIFF"))
    return Classifier(
        settings.model,
        settings.backend,
        home=settings.home,
        threads=settings.threads,
        streams=settings.streams,
        max_batch=settings.max_batch,
        queue_size=settings.queue_size,
        limits=limits,
    )


def find_pictures(
    arguments: Sequence[str], *, recursive: bool, suffixes: frozenset[str] | set[str]
) -> list[Path]:
    """Returns the paths of all pictures, those of a folder in the order of their names.

    A file that is named itself is taken whatever its suffix, also when it does not exist: then
    its own answer says so.

    Raises:
        RequestError: There is none.
    """
    paths = [
        path
        for argument in arguments
        for path in _expand(argument, recursive=recursive, suffixes=suffixes)
    ]
    if not paths:
        raise RequestError(
            f"There are no pictures in {', '.join(arguments)}.",
            "Folders of folders are looked into with -r.",
        )
    return paths


def _expand(
    argument: str, *, recursive: bool, suffixes: frozenset[str] | set[str]
) -> Iterator[Path]:
    path = Path(argument)
    if argument == STDIN or path.is_file():
        yield path
    elif path.is_dir():
        found = path.rglob("*") if recursive else path.iterdir()
        yield from sorted(
            file
            for file in found
            if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()
        )
    elif has_magic(argument):
        # A shell that does not expand patterns (Windows), or a quoted one.
        names = glob(argument, recursive=True)  # noqa: PTH207 - `Path.glob` takes no absolute one
        yield from (Path(name) for name in sorted(names))
    else:
        yield path


def _read(paths: Sequence[Path]) -> Iterator[Picture]:
    for path in paths:
        yield sys.stdin.buffer.read() if str(path) == STDIN else path


def _progress(total: int, screen: Console) -> Progress:
    """A bar for many pictures: on the terminal, wherever the answers go."""
    bar = screen if screen.is_terminal else Console(stderr=True)
    return Progress(
        TextColumn("Looking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=bar,
        transient=True,
        disable=total < 2 or not bar.is_terminal,
    )
