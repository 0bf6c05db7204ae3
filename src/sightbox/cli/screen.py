"""What prints for people: the console, and rows that fit every width."""

import codecs
import json
import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000
"""Width of a line that is not on a terminal, in characters: nothing is wrapped or cut."""

GAP = 2
"""Blanks between the columns of a table."""

READABLE = 20
"""Narrowest column, in characters, in which a sentence is still wrapped."""


def console() -> Console:
    """Returns what prints for people: as wide as the terminal, or unlimited in a pipe.

    It takes no markup: names and paths may hold brackets.
    """
    found = Console(highlight=False, soft_wrap=True, markup=False)
    if found.is_terminal:
        return found
    return Console(highlight=False, markup=False, width=UNLIMITED)


def to_json(value: object, indent: int | None = None) -> str:
    """Returns JSON that stays JSON on standard output: escaped where that does not speak UTF-8."""
    plain = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    return json.dumps(value, ensure_ascii=not plain, indent=indent)


def print_rows(
    screen: Console, rows: Sequence[Sequence[str]], headings: Sequence[str] = ()
) -> None:
    """Prints rows of cells, none of them ever cut.

    A table on a terminal, of which the last column is wrapped; where that is too narrow, a block of
    lines for each row. In a pipe, lines with tabs between the cells, without the headings.
    """
    if not screen.is_terminal:
        for row in rows:
            print(*row, sep="\t")  # noqa: T201
        return
    lines = [headings, *rows] if headings else rows
    *fixed, last = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    if sum(fixed) + GAP * len(fixed) + min(last, READABLE) > screen.width:
        _print_blocks(screen, rows, headings)
        return
    table = Table(
        *headings, box=None, show_header=bool(headings), header_style="dim", pad_edge=False
    )
    table.padding = (0, GAP, 0, 0)
    for row in rows:
        table.add_row(
            *(Text(cell, no_wrap=True) for cell in row[:-1]), Text(row[-1], overflow="fold")
        )
    screen.print(table)


def _print_blocks(screen: Console, rows: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    for first, *others in rows:
        screen.print(first, style="bold")
        names = headings[1:] or [""] * len(others)
        for name, cell in zip(names, others, strict=True):
            if cell:
                screen.print(f"  {name}: {cell}" if name else f"  {cell}")
