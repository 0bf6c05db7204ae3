"""``sightbox bench``: measures, and shows and keeps the report."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sightbox.atomicfile import write_atomically
from sightbox.benchmark.last import keep_last
from sightbox.benchmark.markdown import to_markdown
from sightbox.benchmark.measuring import FULL, QUICK
from sightbox.benchmark.measuring import Progress as Told
from sightbox.benchmark.page import benchmark_page
from sightbox.benchmark.report import to_text
from sightbox.benchmark.tables import tables
from sightbox.benchmark.ways import bench
from sightbox.benchmark.words import Table
from sightbox.cli.screen import console, print_rows
from sightbox.errors import RequestError
from sightbox.settings import load_settings
from sightbox.store import Store


def run(
    name: str | None,
    *,
    quick: bool,
    json_file: Path | None,
    markdown: Path | None,
    html: Path | None,
) -> int:
    """Measures, prints the tables, and returns 1 where no way gave the right answers, else 0.

    Args:
        name: Name of the model; the default one when not given.
        quick: Whether to measure only shortly.
        json_file: File for the report as JSON.
        markdown: File for it as Markdown.
        html: File for it as a page.

    Raises:
        RequestError: A file cannot be written.
    """
    settings = load_settings(model=name)
    store = Store(settings.home)
    model = store.open(settings.model)
    screen = console()
    with _progress(screen) as progress:
        report = bench(store, model, QUICK if quick else FULL, progress)
    for table in tables(report):
        show(screen, table)
    forms = ((json_file, to_text), (markdown, to_markdown), (html, benchmark_page))
    for path, form in forms:
        if path is not None:
            write(path, form(report))
    problem = keep_last(store.home, report)
    if problem is not None:
        screen.print(f"The page /benchmark will not show this report: {problem}", style="dim")
    return 0 if report["fastest"] is not None else 1


def show(screen: Console, table: Table) -> None:
    """Prints a table under its title."""
    screen.print(f"\n{table.title['en']}", style="bold")
    if table.rows:
        headings = [heading["en"] for heading in table.headings]
        # In a pipe they are a row as any other: several tables follow each other.
        rows = table.rows if screen.is_terminal else [headings, *table.rows]
        print_rows(screen, rows, headings)
    for note in table.notes:
        screen.print(note["en"])


def write(path: Path, text: str) -> None:
    """Writes a file for the person.

    Raises:
        RequestError: It cannot be written.
    """
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _progress(screen: Console) -> Iterator[Told]:
    with Progress(
        TextColumn("Measuring"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as bar:
        task = bar.add_task("")

        def tell(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield tell
