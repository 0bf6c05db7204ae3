"""``sightbox classify``: streams the answers."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sightbox import opening
from sightbox.classifier import Classifier
from sightbox.cli.explain import save_overlay
from sightbox.cli.interrupts import instant_interrupts
from sightbox.cli.output import Result, open_writer
from sightbox.cli.pictures import PICTURE_SUFFIXES, Item, find_items
from sightbox.cli.screen import console
from sightbox.errors import RequestError, SightboxError
from sightbox.prediction import Prediction
from sightbox.settings import Settings, load_settings

ALL = "both"
"""What is asked for to see the labels in every language there is."""


def chosen_form(*, json: bool, jsonl: bool, csv: bool) -> str | None:
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
    overlay: Path | None,
    given: Mapping[str, object],
) -> int:
    """Classifies what the arguments name, prints the answers, and returns the exit code.

    Args:
        arguments: Pictures, folders, patterns, or ``-``.
        recursive: Whether to go into the folders of folders.
        language: A language of the model's labels, or ``both`` for all of them.
        form: ``json``, ``jsonl``, ``csv``, or None for people.
        overlay: File for the picture with the evidence for its first class laid over it, PNG.
        given: Settings from the command line.

    Raises:
        RequestError: There is no picture, there are no labels in the language, or several pictures
            are to go into one overlay, or it cannot be written.
    """
    settings = load_settings(**given)
    suffixes = PICTURE_SUFFIXES | ({".tif", ".tiff"} if settings.allow_tiff else set())
    items = find_items(arguments, recursive=recursive, suffixes=suffixes)
    if overlay is not None and len(items) != 1:
        raise RequestError(f"--explain takes one picture; these are {len(items)}.")
    screen = console()
    failed = 0
    with open_classifier(settings) as classifier:
        languages = _languages(language, classifier)
        writer = open_writer(form, screen, languages, single=len(items) == 1)
        with _progress(len(items), screen) as progress, writer:
            task = progress.add_task("", total=len(items))
            answers = _answers(items, classifier, settings, explain=overlay is not None)
            for item, result in zip(items, answers, strict=True):
                failed += isinstance(result, SightboxError)
                writer.write(item.name, result)
                progress.advance(task)
                if overlay is None or isinstance(item.picture, SightboxError):
                    continue
                if isinstance(result, Prediction):
                    save_overlay(overlay, item.picture, result, classifier)
    return 1 if failed else 0


def open_classifier(settings: Settings) -> Classifier:
    """Returns the classifier that the settings describe."""
    # The engine is imported here.
    with instant_interrupts():
        return opening.open_classifier(settings)


def _answers(
    items: Sequence[Item], classifier: Classifier, settings: Settings, *, explain: bool
) -> Iterator[Result]:
    """Yields the result of each item; those that are wrong already do not disturb the others."""
    pictures = (item.picture for item in items if not isinstance(item.picture, SightboxError))
    results = classifier.classify_many(
        pictures, top_k=settings.top_k, min_score=settings.min_score, explain=explain
    )
    for item in items:
        yield item.picture if isinstance(item.picture, SightboxError) else next(results)


def _languages(asked: str, classifier: Classifier) -> tuple[str, ...]:
    there = classifier.labels.languages
    if asked == ALL:
        return there
    if asked not in there:
        raise RequestError(
            f"The model {classifier.card.name} has no labels in the language {asked!r}.",
            f"Choose one of {', '.join(there)}, or {ALL} for all of them.",
        )
    return (asked,)


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
