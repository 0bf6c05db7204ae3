"""How answers are printed: for people, as lines of tabs, as JSON, as CSV."""

import csv
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sightbox.cli.screen import GAP, to_json
from sightbox.errors import SightboxError
from sightbox.prediction import Prediction, Score
from sightbox.schema import Json, result_to_json

BAR_WIDTH = 24
"""Width of a full bar, in characters."""

LEAST_BAR_WIDTH = 4
"""Width below which a bar says nothing, in characters."""

NOT_SURE = "not sure"
"""What is said of a picture of which no class reached the least score, or the most likely one does
not reach the threshold in the model's card."""

Result = Prediction | SightboxError


class Writer(Protocol):
    """Prints results as they come; a context manager that prints what frames them."""

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""

    def __enter__(self) -> Self:
        """Begins."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends."""


def open_writer(
    form: str | None, screen: Console, languages: tuple[str, ...], *, single: bool
) -> Writer:
    """Returns what prints in a form; without one, a table on a terminal and tabs elsewhere."""
    if form in {"json", "jsonl"}:
        return JsonWriter(languages, lines=form == "jsonl")
    if form == "csv":
        return CsvWriter(languages)
    if screen.is_terminal:
        return TableWriter(screen, languages, titled=not single)
    return TabWriter(languages)


class _Frameless:
    """A writer that prints nothing around its results."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class JsonWriter(_Frameless):
    """JSON as HTTP gives it, with the path of each picture: one object, or one a line."""

    def __init__(self, languages: tuple[str, ...], *, lines: bool) -> None:
        self._languages = languages
        self._lines = lines
        self._written = 0

    def write(self, path: str, result: Result) -> None:
        """Prints one result at once, also inside the one object."""
        item: Json = {"path": path} | result_to_json(result, self._languages)
        text = to_json(item)
        if not self._lines:
            text = ("," if self._written else '{"results": [') + "\n" + text
        print(text, end="\n" if self._lines else "", flush=self._lines)  # noqa: T201
        self._written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._lines and kind is None:
            print("\n]}")  # noqa: T201


class CsvWriter(_Frameless):
    """CSV (RFC 4180) with a header: one line for each class, or one for an error.

    A picture of which no class reached the least score has one line, without a rank. The last
    column says whether the answer is sure; it is empty where the model's card has no threshold.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        self._languages = languages
        self._csv = csv.writer(sys.stdout)
        labels = [f"label_{code}" for code in self._languages]
        self._csv.writerow(["path", "rank", "score", "index", "wnid", *labels, "error", "sure"])

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""
        blank = [""] * (4 + len(self._languages))
        if isinstance(result, SightboxError):
            self._csv.writerow([path, *blank, str(result), ""])
            return
        sure = "" if result.sure is None else str(result.sure).lower()
        if not result.predictions:
            self._csv.writerow([path, *blank, "", sure])
        for rank, score in enumerate(result.predictions, 1):
            names = _names(score, self._languages)
            self._csv.writerow(
                [path, rank, f"{score.score:.6f}", score.index, score.wnid or "", *names, "", sure]
            )


class TabWriter(_Frameless):
    """One line for each class: path, score, names, with tabs between; errors go to stderr.

    A last field says so where the answer is not sure.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        self._languages = languages

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""
        if isinstance(result, SightboxError):
            print(f"sightbox: {path}: {result}", file=sys.stderr)  # noqa: T201
            return
        if not result.predictions:
            print(path, "", NOT_SURE, sep="\t")  # noqa: T201
        marks = [NOT_SURE] if result.sure is False else []
        for score in result.predictions:
            names = _names(score, self._languages)
            print(path, f"{score.score:.4f}", *names, *marks, sep="\t")  # noqa: T201


class TableWriter(_Frameless):
    """For people: a line for each class with a bar."""

    def __init__(self, screen: Console, languages: tuple[str, ...], *, titled: bool) -> None:
        self._screen = screen
        self._languages = languages
        self._titled = titled

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""
        if isinstance(result, SightboxError):
            self._screen.print(Text.assemble((path, "bold"), "  ", (str(result), "red")))
            return
        if self._titled:
            self._screen.print(Text(path, "bold"))
        if result.predictions:
            table = _table(result.predictions, self._languages, self._screen.width)
            self._screen.print(table)
        if not result.predictions or result.sure is False:
            self._screen.print(NOT_SURE, style="yellow")
        model = result.model
        spent = f"{model.name} {model.variant}, {model.backend}, {result.timings_ms.total:.0f} ms"
        self._screen.print(Text(spent, "dim"))


def _table(scores: Sequence[Score], languages: tuple[str, ...], width: int) -> Table:
    """Lays out probabilities, bars and names: the bar gives way first, no name is ever cut."""
    shares = [f"{score.score:6.1%}" for score in scores]
    rows = [_names(score, languages) for score in scores]
    columns = [shares, *zip(*rows, strict=True)]
    free = width - sum(GAP + max(map(cell_len, column)) for column in columns)
    if free + GAP < 0:
        rows = [["  ".join(names)] for names in rows]
    table = Table.grid(padding=(0, GAP, 0, 0))
    table.add_column(no_wrap=True)
    for score, share, names in zip(scores, shares, rows, strict=True):
        texts = (Text(name, overflow="fold") for name in names)
        bar = (_bar(score, min(free, BAR_WIDTH)),) if free >= LEAST_BAR_WIDTH else ()
        table.add_row(Text(share, "bold"), *bar, *texts)
    return table


def _bar(score: Score, width: int) -> ProgressBar:
    return ProgressBar(
        total=1,
        completed=score.score,
        width=width,
        style="dim",
        complete_style="cyan",
        finished_style="cyan",
    )


def _names(score: Score, languages: tuple[str, ...]) -> list[str]:
    return [score.label[code] for code in languages]
