"""``sightbox tune``: measures how a model runs fastest here."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sightbox.agreement import Agreement
from sightbox.cli.optimize import add_variant
from sightbox.cli.plans import HEADINGS, table
from sightbox.cli.screen import console, print_rows
from sightbox.errors import ModelError
from sightbox.machine import BF16_SETS, instruction_sets
from sightbox.model import Model, report_file
from sightbox.plan import Tuning
from sightbox.settings import Settings, load_settings
from sightbox.store import Store
from sightbox.tuning import FULL, QUICK
from sightbox.tuning import tune as measure


def run(name: str | None, *, full: bool) -> None:
    """Measures, and prints the table."""
    settings = load_settings()
    store = Store(settings.home)
    model = store.open(name)
    screen = console()
    tuning = tune(store, model, settings, screen, full=full)
    print_rows(screen, table(tuning, settings.least_agreement), HEADINGS)


def tune(store: Store, model: Model, settings: Settings, screen: Console, *, full: bool) -> Tuning:
    """Makes the variants that are missing, then measures with a bar."""
    if model.folder is None:
        raise ModelError("What is measured needs a home that can be written to.")
    for precision in _missing(model):
        add_variant(store, model, precision, None, settings, screen)
        model = store.open(model.card.name)
    with _progress(screen) as progress:
        task = progress.add_task("")
        return measure(
            store,
            model,
            FULL if full else QUICK,
            lambda step, done, total: progress.update(
                task, description=step, completed=done, total=total
            ),
        )


def _missing(model: Model) -> list[str]:
    """Returns the variants that this processor could run but that were not compared on it."""
    precisions = ["int8", *(["bf16"] if BF16_SETS & set(instruction_sets()) else [])]
    return [precision for precision in precisions if not _was_compared(model, precision)]


def _was_compared(model: Model, precision: str) -> bool:
    file = report_file(precision)
    if file not in model.card.files:
        return False
    report = Agreement.from_json(model.read(file))
    # One that was made from a person's own pictures is not made anew without them.
    return report.pictures == "own" or report.instruction_sets == instruction_sets()


def _progress(screen: Console) -> Progress:
    return Progress(
        TextColumn("Measuring"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
