"""The scenarios over a classifier: how fast it is, and how right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sightbox.accuracy import TOP, Tally
from sightbox.accuracy import Outcome as Named
from sightbox.classifier import Classifier
from sightbox.errors import ImageError
from sightbox.evaluation import LISTED, Findings
from sightbox.labelled import Labelled
from sightbox.loadgen.report import Json, scenario_to_json, server_to_json
from sightbox.loadgen.scenarios import Task, run_task
from sightbox.loadgen.search import capacity, highest_rate, offline
from sightbox.loadgen.system import NOTHING, Said
from sightbox.pictures import Picture

CALIBRATION = 0.2
"""Part of a run's least duration for which the capacity is measured before."""

Progress = Callable[[str], None]
"""Is told what is run now."""


def run_scenarios(
    classifier: Classifier,
    pictures: Sequence[bytes],
    tasks: Sequence[Task],
    threads: int,
    folder: Path,
    progress: Progress = lambda _: None,
) -> Iterator[Json]:
    """Runs scenarios, from the bytes of a file to the named classes, and yields what LoadGen said.

    Args:
        classifier: What answers.
        pictures: Files, held in memory.
        tasks: The scenarios; the rates of Server and Offline are found here.
        threads: How many ask the classifier at once.
        folder: For LoadGen's logs.
        progress: Is told each run.

    Raises:
        RequestError: LoadGen is not installed.
        BackendError: A picture could not be answered.
    """

    def answer(number: int) -> Said:
        return _said(classifier, pictures[number])

    one = partial(run_task, answer=answer, pictures=len(pictures), threads=threads, folder=folder)
    for task in tasks:
        if task.scenario in {"SingleStream", "MultiStream"}:
            progress(task.scenario)
            yield scenario_to_json(task, one(task))
            continue
        progress("capacity")
        most = capacity(answer, len(pictures), threads, CALIBRATION * task.seconds)
        progress(task.scenario)
        if task.scenario == "Offline":
            yield scenario_to_json(task, offline(one, replace(task, rate=most)))
        else:
            yield server_to_json(task, highest_rate(one, task, most))


def run_accuracy(
    classifier: Classifier, pictures: Sequence[Labelled], threads: int, folder: Path
) -> Findings:
    """Lets LoadGen ask for each picture once, and counts as ``sightbox eval`` does.

    Args:
        classifier: What answers.
        pictures: With their classes; those without one are counted and left out.
        threads: How many ask the classifier at once.
        folder: For LoadGen's logs.

    Raises:
        RequestError: LoadGen is not installed.
        BackendError: A picture could not be answered.
    """
    known = [(str(item.path), item.target) for item in pictures if item.target is not None]
    findings = Findings([Tally()], unknown=len(pictures) - len(known))
    if not known:
        return findings

    def answer(number: int) -> Said:
        path = known[number][0]
        try:
            return _said(classifier, path)
        except ImageError as error:
            findings.unreadable += 1
            if len(findings.errors) < LISTED:
                findings.errors.append((path, str(error)))
            return NOTHING

    task = Task("Offline", seconds=0.0, queries=1, accuracy=True)
    outcome = run_task(task, answer, len(known), threads, folder)
    for number, said in sorted(outcome.said.items()):
        if len(said):
            path, target = known[number]
            guesses = tuple(int(index) for index in said[:-1])
            findings.tallies[0].add(Named(path, target, guesses, float(said[-1])))
    return findings


def _said(classifier: Classifier, picture: Picture) -> Said:
    found = classifier.classify(picture, top_k=TOP)
    return np.array([*(each.index for each in found.predictions), found.top.score], np.float64)
