"""Evaluates one or two ways to answer over labelled pictures, in memory that does not grow."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sightbox.accuracy import TOP, Bin, Coverage, Duel, Outcome, Rate, Tally, most_confused
from sightbox.classifier import Classifier, Result
from sightbox.errors import RequestError, SightboxError
from sightbox.journal import Entry, Journal
from sightbox.labelled import Labelled

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
) -> Findings:
    """Answers all pictures, those of the journal from there, and counts.

    Args:
        pictures: With their classes; those without one are counted and left out.
        classifiers: One, or two to compare.
        journal: What was done before, in the same order; takes what is done now.
        progress: Is called after each picture.

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
            _count(findings, entry)
            progress()
    start = perf_counter()
    for entry in _answers(left, classifiers):
        if journal is not None:
            journal.add(entry)
        _count(findings, entry)
        findings.computed += 1
        findings.seconds = perf_counter() - start
        progress()
    return findings


def _answers(pictures: Iterator[Labelled], classifiers: Sequence[Classifier]) -> Iterator[Entry]:
    """Yields an entry for each picture; all classifiers read ahead by a few."""
    copies = itertools.tee(pictures, len(classifiers))
    streams = [_stream(*pair) for pair in zip(copies, classifiers, strict=True)]
    for answers in zip(*streams, strict=True):
        item = answers[0][0]
        entry: Entry = {"path": str(item.path), "target": item.target}
        results = [result for _, result in answers]
        error = next((one for one in results if isinstance(one, SightboxError)), None)
        if error is not None:
            yield entry | {"error": str(error)}
        elif item.target is None:
            yield entry
        else:
            said = [
                one for one in results if one is not None and not isinstance(one, SightboxError)
            ]
            yield entry | {
                "answers": [
                    [[guess.index for guess in one.predictions], one.top.score] for one in said
                ]
            }


def _stream(
    pictures: Iterator[Labelled], classifier: Classifier
) -> Iterator[tuple[Labelled, Result | None]]:
    """Yields each picture with its result; None for one without a class, which is not asked."""
    waiting: deque[Labelled] = deque()

    def asked() -> Iterator[Labelled]:
        for item in pictures:
            waiting.append(item)
            if item.target is not None:
                yield item

    for result in classifier.classify_many((item.path for item in asked()), top_k=TOP):
        while (item := waiting.popleft()).target is None:
            yield item, None
        yield item, result
    while waiting:
        yield waiting.popleft(), None


def _count(findings: Findings, entry: Entry) -> None:
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

    def name(index: int) -> Json:
        return {"index": index, "label": {code: names[code][index] for code in names}}

    return {
        "model": {
            "name": info.name,
            "variant": info.variant,
            "backend": info.backend,
            "preprocessing": classifier.preprocessing,
        },
        "pictures": tally.pictures,
        "top1": _rate(tally.rate(tally.top1)),
        "top5": _rate(tally.rate(tally.top5)),
        "calibration_error": tally.calibration_error(),
        "calibration": [_bin(found) for found in tally.bins()],
        "coverage": [_coverage(tally.coverage(threshold)) for threshold in THRESHOLDS],
        "classes": [
            name(index) | {"top1": _rate(rate)} for index, rate in tally.classes_from_weakest()
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


def _rate(rate: Rate) -> Json:
    return {"hits": rate.hits, "of": rate.of, "part": rate.part, "low": rate.low, "high": rate.high}


def _bin(found: Bin) -> Json:
    return found._asdict()


def _coverage(found: Coverage) -> Json:
    return {
        "threshold": found.threshold,
        "answered": _rate(found.answered),
        "right": _rate(found.right),
    }
