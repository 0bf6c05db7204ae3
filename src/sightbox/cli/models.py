"""``sightbox models`` and ``sightbox setup``."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from sightbox.catalogue import EMBEDDED, PREFERRED, known, known_names
from sightbox.cli.output import console
from sightbox.errors import DownloadError
from sightbox.schema import card_to_json
from sightbox.settings import load_settings
from sightbox.store import Store, labels_from_file

FETCHED_BY_SETUP = PREFERRED[0]


def setup(*, fetch: bool) -> None:
    """Prepares the embedded model, and tries once to fetch the preferred one."""
    store = _store()
    screen = console()
    with screen.status(f"Preparing {EMBEDDED}"):
        store.prepare_embedded()
    screen.print(f"{EMBEDDED} is ready.")
    if fetch and FETCHED_BY_SETUP not in store.names():
        try:
            _fetch(store, FETCHED_BY_SETUP, screen)
        except DownloadError as error:
            screen.print(f"{FETCHED_BY_SETUP} could not be fetched, going on without: {error}")
    screen.print(f"The default model is {store.default_name()}.")


def show(*, as_json: bool) -> None:
    """Lists the models that are here, and those that can be fetched."""
    store = _store()
    cards = [store.open(name).card for name in store.names()]
    others = [name for name in known_names() if name not in store.names()]
    if as_json:
        listed: dict[str, Any] = {
            "default": store.default_name(),
            "models": [card_to_json(card) for card in cards],
            "available": others,
        }
        print(json.dumps(listed, ensure_ascii=False, indent=2))  # noqa: T201
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("name", "network", "classes", "top-1", "state"):
        table.add_column(heading)
    for card in cards:
        accuracy = f"{card.accuracy['top1']:.1f} %" if card.accuracy else "unknown"
        state = "default" if card.name == store.default_name() else "here"
        table.add_row(card.name, card.title, str(card.classes), accuracy, state)
    for name in others:
        card = known(name).card
        accuracy = f"{card.accuracy['top1']:.1f} %" if card.accuracy else "unknown"
        state = "comes with Sightbox" if name == EMBEDDED else f"sightbox models fetch {name}"
        table.add_row(name, card.title, "", accuracy, state)
    console().print(table)


def fetch(name: str) -> None:
    """Fetches official weights with a progress bar."""
    _fetch(_store(), name, console())


def import_file(
    file: Path, *, name: str | None, architecture: str | None, labels: Path | None
) -> None:
    """Imports a weights file or an exported model."""
    names = labels_from_file(labels) if labels is not None else ()
    model = _store().import_file(file, name=name, architecture=architecture, names=names)
    card = model.card
    console().print(
        f"{card.name} is ready: {card.architecture}, {card.classes} classes. "
        f"Use it: sightbox classify --model {card.name} photo.jpg"
    )


def export(name: str, file: Path) -> None:
    """Writes a model as one file."""
    _store().export(name, file)
    console().print(f"{name} is in {file}.")


def remove(name: str) -> None:
    """Removes a model."""
    _store().remove(name)
    console().print(f"{name} is removed.")


def verify(name: str | None) -> int:
    """Checks one model or all of them, and returns the exit code."""
    store = _store()
    screen = console()
    damaged = 0
    for model in [name] if name else store.names():
        for check in store.verify(model):
            damaged += check.problem is not None
            screen.print(f"{model} {check.file}: {check.problem or 'as it should be'}")
    return 1 if damaged else 0


def _store() -> Store:
    return Store(load_settings().home)


def _fetch(store: Store, name: str, screen: Console) -> None:
    with Progress(
        TextColumn(name),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        store.fetch(name, advance)
    screen.print(f"{name} is ready.")
