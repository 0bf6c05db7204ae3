"""``sightbox bench --serve``: loads a running server, and shows and keeps the report."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sightbox.benchmark.workload import mountain_files
from sightbox.cli.bench import show, write
from sightbox.cli.interrupts import INTERRUPTED
from sightbox.cli.pictures import PICTURE_SUFFIXES, find_items
from sightbox.cli.screen import console
from sightbox.errors import RequestError
from sightbox.loadtest.open_inference import Normalisation
from sightbox.loadtest.report import make_report, to_text
from sightbox.loadtest.spectrum import hdr_text
from sightbox.loadtest.tables import tables
from sightbox.loadtest.testing import Arrivals, Plan, load
from sightbox.model import Card
from sightbox.pictures import encoded
from sightbox.settings import load_settings
from sightbox.store import Store

DRAWN = 16
"""Pictures that are drawn where no folder is given."""

MOST_BYTES = 256 * 1024**2
"""Most of a folder's pictures that are held in memory, bytes."""

DISQUALIFYING = frozenset({"unreadable", "unsteady", "failed"})
"""Marks with which the exit code is 1."""


@dataclass(frozen=True)
class Files:
    """Where pictures come from, and where the report goes; None is nowhere.

    Attributes:
        images: Folder with pictures.
        json: For the report as JSON.
        hdr: For the latencies in the text form of HdrHistogram.
    """

    images: Path | None = None
    json: Path | None = None
    hdr: Path | None = None


def make_plan(url: str, given: Mapping[str, object]) -> Plan:
    """Returns the plan that the options describe.

    Args:
        url: The server's.
        given: Fields of the plan; None is the default.

    Raises:
        RequestError: They exclude each other, or one is unknown.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if {"clients", "rate"} <= chosen.keys():
        raise RequestError(
            "--clients and --rate exclude each other.",
            "Clients wait for their answers; requests at a rate do not.",
        )
    if {"arrivals", "connections"} & chosen.keys() and "rate" not in chosen:
        raise RequestError("--arrivals and --connections are for the open loop.", "Give a --rate.")
    if chosen.get("arrivals", "fixed") not in get_args(Arrivals):
        raise RequestError(f"--arrivals is fixed or poisson, not {chosen['arrivals']!r}.")
    token = str(chosen.get("token", "x"))
    if not (token.isascii() and token.isprintable() and token.strip()):
        raise RequestError("--token has characters that no token has.")
    return replace(Plan(url), **chosen)  # type: ignore[arg-type] # the options have these types


def run(plan: Plan, files: Files) -> int:
    """Loads the server, prints the tables, and returns the exit code.

    It is 1 where requests failed or answers differ or name no class, 130 after Ctrl-C, else 0.

    Raises:
        RequestError: The server cannot be asked, or a file cannot be read or written.
    """
    settings = load_settings()
    card = Store(settings.home).open(settings.model).card
    plan = replace(plan, default=card.name, normalisation=Normalisation(card.mean, card.std))
    pictures = dict(sent_pictures(files.images, card))
    screen = console()
    with _progress(screen, plan):
        found = load(plan, list(pictures.values()))
    report = make_report(plan, found, list(pictures))
    for table in tables(report):
        show(screen, table)
    if files.json is not None:
        write(files.json, to_text(report))
    if files.hdr is not None:
        write(files.hdr, hdr_text(found.record.latencies()))
    if found.interrupted:
        return INTERRUPTED
    return 1 if DISQUALIFYING & {mark["code"] for mark in report["marks"]} else 0


def sent_pictures(folder: Path | None, card: Card) -> Iterator[tuple[str, bytes]]:
    """Yields names and files: those of a folder, or drawn ones.

    Args:
        folder: Where they are, in folders of folders too.
        card: Says how large they are drawn.

    Raises:
        RequestError: There are none, or too many.
        ImageError: One cannot be read.
    """
    if folder is None:
        for number, file in enumerate(mountain_files(DRAWN, card.recipe.crop)):
            yield f"mountain {number}", file
        return
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.")
    total = 0
    for item in find_items([str(folder)], recursive=True, suffixes=PICTURE_SUFFIXES):
        if not isinstance(item.picture, Path):
            raise RequestError(f"{item.name} cannot be sent.", str(item.picture))
        file = bytes(encoded(item.picture) or b"")
        total += len(file)
        if total > MOST_BYTES:
            raise RequestError(
                f"The pictures of {folder} have more than {MOST_BYTES:,} bytes.",
                "Give a folder with fewer: a few hundred are plenty.",
            )
        yield item.name, file


@contextmanager
def _progress(screen: Console, plan: Plan) -> Iterator[None]:
    with Progress(
        SpinnerColumn(),
        TextColumn(f"Loading {plan.url} for {plan.seconds:g} s; Ctrl-C ends it early"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        bar.add_task("", total=None)
        yield
