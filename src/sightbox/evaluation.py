"""Evaluates one or two ways to answer over labelled pictures, in memory that does not grow."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from sightbox.accuracy import TOP, Bin, Coverage, Duel, Outcome, Rate, Tally, most_confused
from sightbox.classifier import Classifier
from sightbox.errors import RequestError, SightboxError
from sightbox.journal import Entry, Journal
from sightbox.labelled import Labelled
from sightbox.machine import usable_cores
from sightbox.prediction import top_k
from sightbox.streaming import in_order
from sightbox.temperature import Curve, Fitting, curve

FORMAT = 1
"""Version of the report; a field that is renamed or removed raises it."""

LISTED = 20
"""Pictures that are named where something is wrong with them."""

CONFUSIONS = 20
"""Pairs of classes that are listed."""

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Scores from which the coverage is told."""

Json = dict[str, Any]


@dataclass
class Findings:
    """What was found.

    Attributes:
        tallies: One for each way to answer.
        duel: Where the two ways to answer differ, when there are two.
        unreadable: How many pictures gave an error.
        unknown: How many have no class that the model knows.
        errors: The first `LISTED` errors, as path and message.
        computed: How many pictures were answered now; others came from the journal.
        seconds: How long that took.
    """

    tallies: list[Tally]
    duel: Duel = field(default_factory=Duel)
    unreadable: int = 0
    unknown: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)
    computed: int = 0
    seconds: float = 0.0


def evaluate(
    pictures: Iterable[Labelled],
    classifiers: Sequence[Classifier],
    journal: Journal | None = None,
    progress: Callable[[], None] = lambda: None,
    fitting: Fitting | None = None,
) -> Findings:
    """Answers all pictures, those of the journal from there, and counts.

    Args:
        pictures: With their classes; those without one are counted and left out.
        classifiers: One, or two to compare.
        journal: What was done before, in the same order; takes what is done now.
        progress: Is called after each picture.
        fitting: Takes the answers of the first classifier, to be calibrated with. A journal that is
            to serve it was begun with one.

    Raises:
        RequestError: The journal tells of other pictures.
    """
    findings = Findings([Tally() for _ in classifiers])
    left = iter(pictures)
    if journal is not None:
        for entry in journal.done():
            item = next(left, None)
            if item is None or str(item.path) != entry["path"]:
                raise RequestError(
                    f"The journal goes on with {entry['path']}, the pictures with "
                    f"{item.path if item else 'nothing'}.",
                    "Were pictures added or removed? Remove the journal to begin anew.",
                )
            _count(findings, entry, fitting)
            progress()
    start = perf_counter()
    for entry in _answers(left, classifiers, curved=fitting is not None):
        if journal is not None:
            journal.add(entry)
        _count(findings, entry, fitting)
        findings.computed += 1
        findings.seconds = perf_counter() - start
        progress()
    return findings


class _Said(NamedTuple):
    """What was said of one picture: see `Outcome`, and `Curve` where it is wanted."""

    guesses: list[int]
    score: float
    curve: Curve | None


def _answers(
    pictures: Iterator[Labelled], classifiers: Sequence[Classifier], *, curved: bool
) -> Iterator[Entry]:
    """Yields an entry for each picture; all classifiers read ahead by a few."""
    copies = itertools.tee(pictures, len(classifiers) + 1)
    streams = [
        in_order(partial(_ask, classifier, curved=curved), copy, workers=usable_cores() + 1)
        for classifier, copy in zip(classifiers, copies, strict=False)
    ]
    for item, *answers in zip(copies[-1], *streams, strict=True):
        entry: Entry = {"path": str(item.path), "target": item.target}
        error = next((one for one in answers if isinstance(one, SightboxError)), None)
        said = [one for one in answers if isinstance(one, _Said)]
        if error is not None:
            entry["error"] = str(error)
        elif said:
            entry["answers"] = [[one.guesses, one.score] for one in said]
        if error is None and said and said[0].curve is not None:
            gap, first = said[0].curve
            entry["curve"] = [round(gap, 5), *first.round(5).tolist()]
        yield entry


def _ask(classifier: Classifier, item: Labelled, *, curved: bool) -> _Said | SightboxError | None:
    """Returns what is said of a picture, or its error; None for one without a class."""
    if item.target is None:
        return None
    try:
        pixels = classifier.prepare(item.path).pixels
        logits = classifier.infer(pixels[None])[0].logits
    except SightboxError as error:
        return error
    scores = classifier.probabilities(logits)
    guesses = top_k(scores, TOP).tolist()
    return _Said(guesses, float(scores[guesses[0]]), curve(logits, item.target) if curved else None)


def _count(findings: Findings, entry: Entry, fitting: Fitting | None) -> None:
    if "error" in entry:
        findings.unreadable += 1
        if len(findings.errors) < LISTED:
            findings.errors.append((entry["path"], entry["error"]))
        return
    if "answers" not in entry:
        findings.unknown += 1
        return
    outcomes = [
        Outcome(entry["path"], entry["target"], tuple(guesses), score)
        for guesses, score in entry["answers"]
    ]
    for tally, outcome in zip(findings.tallies, outcomes, strict=True):
        tally.add(outcome)
    if len(outcomes) > 1:
        findings.duel.add(*outcomes)
    if fitting is not None:
        gap, *first = entry["curve"]
        fitting.add(Curve(gap, np.array(first)), right=outcomes[0].right)


def findings_to_json(findings: Findings, classifiers: Sequence[Classifier], source: str) -> Json:
    """Returns the report as JSON values: ``format`` tells their version, parts are 0 to 1."""
    duel = findings.duel
    report: Json = {
        "format": FORMAT,
        "source": source,
        "unreadable": findings.unreadable,
        "without_known_class": findings.unknown,
        "errors": [{"path": path, "error": error} for path, error in findings.errors],
        "images_per_second": findings.computed / findings.seconds if findings.seconds else None,
        "results": [
            _tally_to_json(*pair) for pair in zip(findings.tallies, classifiers, strict=True)
        ],
    }
    if len(classifiers) > 1:
        report["comparison"] = {
            "both_right": duel.both,
            "only_first_right": duel.first,
            "only_second_right": duel.second,
            "neither_right": duel.neither,
            "same_first_class": duel.same / max(1, findings.tallies[0].pictures),
            "p_value": duel.p_value(),
        }
    return report


def _tally_to_json(tally: Tally, classifier: Classifier) -> Json:
    names = classifier.labels.names
    info = classifier.info
    sure = sure_of(tally, classifier)

    def name(index: int) -> Json:
        return {"index": index, "label": {code: names[code][index] for code in names}}

    return {
        "model": {
            "name": info.name,
            "variant": info.variant,
            "backend": info.backend,
            "preprocessing": classifier.preprocessing,
            "temperature": classifier.card.temperature,
            "threshold": classifier.card.threshold,
        },
        "pictures": tally.pictures,
        "top1": rate_to_json(tally.rate(tally.top1)),
        "top5": rate_to_json(tally.rate(tally.top5)),
        "calibration_error": tally.calibration_error(),
        "calibration": [_bin(found) for found in tally.bins()],
        "coverage": [_coverage(tally.coverage(threshold)) for threshold in THRESHOLDS],
        "sure": None if sure is None else _coverage(sure),
        "classes": [
            name(index) | {"top1": rate_to_json(rate)}
            for index, rate in tally.classes_from_weakest()
        ],
        "confusions": [
            {"class": name(target), "taken_for": name(guess), "times": times}
            for target, guess, times in most_confused(tally, CONFUSIONS)
        ],
        "worst": [
            {
                "path": outcome.path,
                "class": name(outcome.target),
                "taken_for": name(outcome.guesses[0]),
                "score": outcome.score,
            }
            for outcome in tally.worst
        ],
    }


def sure_of(tally: Tally, classifier: Classifier) -> Coverage | None:
    """Returns what is left above the threshold of the model's card, where it has one."""
    threshold = classifier.card.threshold
    return None if threshold is None else tally.coverage(threshold)


def rate_to_json(rate: Rate) -> Json:
    """Returns a rate with its interval as JSON values."""
    return {"hits": rate.hits, "of": rate.of, "part": rate.part, "low": rate.low, "high": rate.high}


def _bin(found: Bin) -> Json:
    return found._asdict()


def _coverage(found: Coverage) -> Json:
    return {
        "threshold": found.threshold,
        "answered": rate_to_json(found.answered),
        "right": rate_to_json(found.right),
    }
