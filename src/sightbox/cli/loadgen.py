"""``sightbox bench loadgen``: LoadGen's scenarios, shown and kept."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sightbox.benchmark.conditions import Watch
from sightbox.benchmark.words import NONE
from sightbox.classifier import Classifier
from sightbox.cli.bench import write
from sightbox.cli.classify import open_classifier
from sightbox.cli.evaluate import tally_rows
from sightbox.cli.interrupts import INTERRUPTED
from sightbox.cli.load import sent_pictures
from sightbox.cli.pictures import PICTURE_SUFFIXES
from sightbox.cli.screen import console, print_rows
from sightbox.errors import RequestError
from sightbox.evaluation import Findings, findings_to_json
from sightbox.labelled import walk
from sightbox.loadgen.library import DISTRIBUTION, load_library
from sightbox.loadgen.report import Json, make_report
from sightbox.loadgen.running import Progress as Told
from sightbox.loadgen.running import run_accuracy, run_scenarios
from sightbox.loadgen.scenarios import SCENARIOS, Task
from sightbox.loadtest.report import to_text
from sightbox.settings import load_settings

T = TypeVar("T")

HEADINGS = ("scenario", "value", "figure", "LoadGen says", "queries", "p50 ms", "p99 ms", "why")


def run(
    scenario: str | None,
    task: Task,
    *,
    images: Path | None,
    labelled: Path | None,
    json_file: Path | None,
    given: Mapping[str, object],
) -> int:
    """Runs the scenarios, prints what LoadGen says, and returns 0, or 1 where that is not good.

    Args:
        scenario: One of `SCENARIOS` in any case; all of them when None.
        task: What holds for each of them.
        images: Folder with the pictures; drawn ones when None.
        labelled: Folder with pictures whose class is known, to be counted instead.
        json_file: File for the report.
        given: Settings from the command line.

    Raises:
        RequestError: LoadGen is not installed, or an option cannot be used.
    """
    tasks = [replace(task, scenario=name) for name in _chosen(scenario)]
    load_library()
    settings = load_settings(**given)
    screen = console()
    with (
        TemporaryDirectory(prefix="sightbox-loadgen-") as logs,
        open_classifier(settings) as classifier,
    ):
        files = [] if labelled else [file for _, file in sent_pictures(images, classifier.card)]
        threads, folder = settings.http_threads, Path(logs)
        watch, start = Watch(), perf_counter()
        scenarios: list[Json] = []
        found: Findings | None = None
        with _progress(screen) as told:
            if labelled is None:
                run_all = run_scenarios(classifier, files, tasks, threads, folder, told)
                scenarios = _interruptible(lambda: list(run_all), folder)
            else:
                told("accuracy")
                found = _interruptible(
                    partial(_accuracy, labelled, classifier, threads, folder), folder
                )
        report = make_report(
            classifier.info,
            scenarios,
            None if found is None else findings_to_json(found, [classifier], str(labelled)),
            watch.conditions(),
            seconds=perf_counter() - start,
            threads=threads,
            pictures=len(files) if found is None else found.tallies[0].pictures,
            library=version(DISTRIBUTION),
        )
        _show(screen, report, found, classifier)
    if json_file is not None:
        write(json_file, to_text(report))
    good = all(each["valid"] for each in scenarios) and not (found and found.unreadable)
    return 0 if good else 1


def _chosen(scenario: str | None) -> tuple[str, ...]:
    """Returns the scenarios that a word names.

    Raises:
        RequestError: It names none.
    """
    if scenario is None:
        return SCENARIOS
    chosen = tuple(name for name in SCENARIOS if name.lower() == scenario.lower())
    if not chosen:
        raise RequestError(
            f"There is no scenario {scenario!r}.", f"There are {', '.join(SCENARIOS)}."
        )
    return chosen


def _accuracy(folder: Path, classifier: Classifier, threads: int, logs: Path) -> Findings:
    pictures = list(walk(folder, classifier.labels, PICTURE_SUFFIXES))
    found = run_accuracy(classifier, pictures, threads, logs)
    if not found.tallies[0].pictures:
        raise RequestError(
            f"No picture below {folder} could be read and has a class that the model knows.",
            "Name the folders by class or WordNet id.",
        )
    return found


def _interruptible(work: Callable[[], T], logs: Path) -> T:
    """Returns what blocks in native code, so that Ctrl-C ends the process all the same.

    LoadGen cannot be told to end, and Python's exit would wait for its thread.
    """
    done: Future[T] = Future()

    def guarded() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again by who waits
            done.set_exception(error)

    threading.Thread(target=guarded, name="sightbox-loadgen", daemon=True).start()
    try:
        return done.result()
    except KeyboardInterrupt:
        shutil.rmtree(logs, ignore_errors=True)
        os._exit(INTERRUPTED)


def _show(screen: Console, report: Json, found: Findings | None, classifier: Classifier) -> None:
    info = report["model"]
    screen.print(f"{info['name']} {info['variant']} on {info['backend']}", style="bold")
    if found is not None:
        print_rows(screen, tally_rows(found.tallies[0], classifier))
        print_rows(screen, [("not read", f"{path}: {error}") for path, error in found.errors])
    if report["scenarios"]:
        print_rows(screen, [_row(each) for each in report["scenarios"]], HEADINGS)
    for each in report["scenarios"]:
        for trial in each.get("trials", []):
            held = "held" if trial["valid"] else "did not hold"
            screen.print(f"{trial['rate']:.1f} a second {held}: p99 {trial['p99_ms']:.1f} ms")
    for mark in report["marks"]:
        screen.print(mark["en"])
    screen.print(report["note"])


def _row(each: Json) -> tuple[str, ...]:
    latency = each["latency_ms"] or {}
    return (
        each["scenario"],
        NONE if each["value"] is None else f"{each['value']:.2f}",
        each["metric"],
        "valid" if each["valid"] else "invalid",
        NONE if each["queries"] is None else str(each["queries"]),
        *(f"{latency[name]:.2f}" if latency else NONE for name in ("p50", "p99")),
        each["reason"] or "",
    )


@contextmanager
def _progress(screen: Console) -> Iterator[Told]:
    with Progress(
        SpinnerColumn(),
        TextColumn("LoadGen: {task.description}"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task("")
        yield lambda step: bar.update(task, description=step)
