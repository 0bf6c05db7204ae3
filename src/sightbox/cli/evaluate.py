"""``sightbox eval``: how right a model is over pictures whose class is known."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightbox.accuracy import Coverage, Duel, Rate, Tally, most_confused
from sightbox.atomicfile import write_atomically
from sightbox.classifier import Classifier
from sightbox.cli.calibrate import Wish, conclude
from sightbox.cli.classify import open_classifier
from sightbox.cli.pictures import PICTURE_SUFFIXES
from sightbox.cli.screen import console, print_rows
from sightbox.errors import RequestError
from sightbox.evaluation import Findings, evaluate, findings_to_json, sure_of
from sightbox.evaluation_page import evaluation_page
from sightbox.journal import Journal
from sightbox.labelled import Labelled, walk
from sightbox.labels import Labels
from sightbox.model import graph_file
from sightbox.schema import Json
from sightbox.settings import load_settings
from sightbox.store import Store
from sightbox.tables import read_table

COMPARABLE = ("model", "variant", "preprocessing", "backend")
"""What may differ between two ways to answer."""

SHOWN = 3
"""Pairs of confused classes that are printed; the report has more."""

SURE = (0.5, 0.9)
"""Scores from which the coverage is printed; the report has more."""


def run(
    folder: Path,
    *,
    table: Path | None,
    against: str | None,
    journal: Path | None,
    html: Path | None,
    json_file: Path | None,
    wanted: Wish | None,
    given: Mapping[str, object],
) -> int:
    """Evaluates, prints what was found, and returns the exit code.

    That is 1 where a picture could not be read, or a precision is wanted that cannot be promised.

    Args:
        folder: Where the pictures are.
        table: See `sightbox.tables`; else folders or names tell the class.
        against: A second way to answer, such as ``variant=fp32``.
        journal: File that keeps each answer, to go on after an interruption.
        html: File for the report as a page.
        json_file: File for the report as JSON.
        wanted: What is wanted of a calibration, if one is.
        given: Settings from the command line.

    Raises:
        RequestError: There is no picture with a known class, or a file cannot be used.
    """
    screen = console()
    ways = [dict(given), *([dict(given) | _second(against)] if against else [])]
    settings = [load_settings(**chosen) for chosen in ways]
    with ExitStack() as stack:
        classifiers = [stack.enter_context(open_classifier(each)) for each in settings]
        pictures = partial(_pictures, folder, table, classifiers[0].labels)
        kept = None
        if journal is not None:
            head = _head(folder, table, classifiers, curved=wanted is not None)
            kept = stack.enter_context(Journal(journal, head))
        with _progress(screen) as progress:
            task = progress.add_task("", total=sum(1 for _ in pictures()))
            advance = partial(progress.advance, task)
            fitting = None if wanted is None else wanted.fitting
            found = evaluate(pictures(), classifiers, kept, advance, fitting)
        if not found.tallies[0].pictures:
            raise RequestError(
                f"No picture below {folder} has a class that the model knows.",
                "Name the folders by class or WordNet id, or give a --table.",
            )
        _show(screen, found, classifiers)
        report = findings_to_json(found, classifiers, str(folder))
        if wanted is not None:
            report["fit"] = conclude(screen, wanted, classifiers[0], Store(settings[0].home))
        _write_reports(report, json_file, html)
    promised = wanted is None or report["fit"]["threshold"] is not None
    return 0 if promised and not found.unreadable else 1


def _pictures(folder: Path, table: Path | None, labels: Labels) -> Iterator[Labelled]:
    if table is not None:
        return read_table(table, folder, labels)
    return walk(folder, labels, PICTURE_SUFFIXES)


def _second(against: str) -> dict[str, str]:
    """Reads ``name=value``.

    Raises:
        RequestError: It is something else.
    """
    name, _, value = against.partition("=")
    if name not in COMPARABLE or not value:
        raise RequestError(
            f"--against {against!r} cannot be understood.",
            f"Write one of {', '.join(COMPARABLE)} with a value: --against variant=fp32.",
        )
    return {name: value}


def _head(
    folder: Path, table: Path | None, classifiers: list[Classifier], *, curved: bool
) -> dict[str, object]:
    """Tells all that the entries of a journal depend on."""
    return {
        "folder": str(folder),
        "calibrate": curved,
        "table": None if table is None else str(table),
        "ways": [
            {
                "model": each.info.name,
                "variant": each.info.variant,
                "backend": each.info.backend,
                "preprocessing": each.preprocessing,
                "temperature": each.card.temperature,
                "sha256": each.card.files.get(graph_file(each.info.variant)),
            }
            for each in classifiers
        ],
    }


def _show(screen: Console, found: Findings, classifiers: list[Classifier]) -> None:
    for tally, classifier in zip(found.tallies, classifiers, strict=True):
        info = classifier.info
        screen.print(
            f"{info.name} {info.variant} on {info.backend}, {classifier.preprocessing}",
            style="bold",
        )
        print_rows(screen, tally_rows(tally, classifier))
    if len(classifiers) > 1:
        screen.print("Compared", style="bold")
        print_rows(screen, _duel_rows(found.duel, found.tallies[0].pictures))
    rows = [("speed", f"{found.computed / found.seconds:.1f} images/s")] if found.seconds else []
    if found.unknown:
        rows.append(("left out, no class known", str(found.unknown)))
    rows += [("not read", f"{path}: {error}") for path, error in found.errors]
    if found.unreadable > len(found.errors):
        rows.append(("not read", f"and {found.unreadable - len(found.errors)} more"))
    print_rows(screen, rows)


def tally_rows(tally: Tally, classifier: Classifier) -> list[tuple[str, str]]:
    """Returns what is printed of one way to answer: names and figures."""
    names = classifier.labels.names["en"]
    rows = [
        ("top-1", _told(tally.rate(tally.top1))),
        ("top-5", _told(tally.rate(tally.top5))),
        ("calibration error", f"{tally.calibration_error():.3f}"),
    ]
    known = sure_of(tally, classifier)
    if known is not None:
        rows.append((f"sure, from {known.threshold:g} on", _coverage(known)))
    rows += [
        (f"score from {threshold} on", _coverage(tally.coverage(threshold))) for threshold in SURE
    ]
    rows += [
        ("taken for another", f"{names[target]} for {names[guess]}, {times} ×")
        for target, guess, times in most_confused(tally, SHOWN)
    ]
    return rows


def _duel_rows(duel: Duel, pictures: int) -> list[tuple[str, str]]:
    chance = duel.p_value()
    verdict = "more than chance" if chance < 0.05 else "no more than chance may bring"
    return [
        ("same first class", f"{duel.same / pictures:.1%}"),
        ("right in one alone", f"{duel.first} in the first, {duel.second} in the second"),
        ("McNemar's test", f"p = {chance:.3g}: {verdict}"),
    ]


def _coverage(found: Coverage) -> str:
    return f"{found.answered.part:.1%} of the pictures, {found.right.part:.1%} of them right"


def _told(rate: Rate) -> str:
    return f"{rate.part:.4f}  ({rate.hits} of {rate.of}; 95 % {rate.low:.3f} to {rate.high:.3f})"


def _write_reports(report: Json, json_file: Path | None, html: Path | None) -> None:
    if json_file is not None:
        _write(json_file, json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    if html is not None:
        _write(html, evaluation_page(report))


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.") from error


def _progress(screen: Console) -> Progress:
    return Progress(
        TextColumn("Evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
