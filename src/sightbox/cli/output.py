"""How answers are printed: for people, as lines of tabs, as JSON, as CSV."""

import csv
import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightbox.errors import SightboxError
from sightbox.prediction import Prediction, Score
from sightbox.schema import Json, result_to_json

UNLIMITED = 10_000
"""Width of a line that is not on a terminal, in characters: nothing is wrapped or cut."""

BAR_WIDTH = 24
"""Width of a full bar, in characters."""

Result = Prediction | SightboxError


def console() -> Console:
    """Returns what prints for people: as wide as the terminal, or unlimited in a pipe."""
    found = Console(highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(highlight=False, width=UNLIMITED)


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


def writer(form: str | None, screen: Console, language: str, *, single: bool) -> Writer:
    """Returns what prints in a form; without one, a table on a terminal and tabs elsewhere."""
    languages = None if language == "both" else (language,)
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

    def __init__(self, languages: tuple[str, ...] | None, *, lines: bool) -> None:
        self._languages = languages
        self._lines = lines
        self._written = 0

    def write(self, path: str, result: Result) -> None:
        """Prints one result at once, also inside the one object."""
        item: Json = {"path": path} | result_to_json(result, self._languages)
        text = json.dumps(item, ensure_ascii=False)
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
    """CSV (RFC 4180) with a header: one line for each class, or one for an error."""

    def __init__(self, languages: tuple[str, ...] | None) -> None:
        self._languages = languages or ("en", "zh")
        self._csv = csv.writer(sys.stdout)
        labels = [f"label_{code}" for code in self._languages]
        self._csv.writerow(["path", "rank", "score", "index", "wnid", *labels, "error"])

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""
        blank = [""] * (4 + len(self._languages))
        if isinstance(result, SightboxError):
            self._csv.writerow([path, *blank, str(result)])
            return
        for rank, score in enumerate(result.predictions, 1):
            names = [score.label.get(code, "") for code in self._languages]
            self._csv.writerow(
                [path, rank, f"{score.score:.6f}", score.index, score.wnid or "", *names, ""]
            )


class TabWriter(_Frameless):
    """One line for each class: path, score, names, with tabs between; errors go to stderr."""

    def __init__(self, languages: tuple[str, ...] | None) -> None:
        self._languages = languages

    def write(self, path: str, result: Result) -> None:
        """Prints one result."""
        if isinstance(result, SightboxError):
            print(f"sightbox: {path}: {result}", file=sys.stderr)  # noqa: T201
            return
        for score in result.predictions:
            names = _names(score.label, self._languages)
            print(path, f"{score.score:.4f}", *names, sep="\t")  # noqa: T201


class TableWriter(_Frameless):
    """For people: a line for each class with a bar."""

    def __init__(self, screen: Console, languages: tuple[str, ...] | None, *, titled: bool) -> None:
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
        table = Table.grid(padding=(0, 2))
        for score in result.predictions:
            table.add_row(*_cells(score, self._languages))
        self._screen.print(table if result.predictions else Text("not sure", "dim"))
        model = result.model
        spent = f"{model.name} {model.variant}, {model.backend}, {result.timings_ms.total:.0f} ms"
        self._screen.print(Text(spent, "dim"))


def _cells(score: Score, languages: tuple[str, ...] | None) -> tuple[Text, ...]:
    full = round(score.score * BAR_WIDTH)
    bar = Text.assemble(("━" * full, "cyan"), ("━" * (BAR_WIDTH - full), "dim"))
    names = [Text(name) for name in _names(score.label, languages)]
    return Text(f"{score.score:6.1%}", "bold"), bar, *names


def _names(label: Mapping[str, str], languages: tuple[str, ...] | None) -> list[str]:
    chosen = [name for code, name in label.items() if not languages or code in languages]
    return chosen or list(label.values())
