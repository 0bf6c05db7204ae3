"""``sightbox models``."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from sightbox.catalogue import EMBEDDED, known, known_names
from sightbox.cli.screen import console, print_rows, to_json
from sightbox.errors import ModelError
from sightbox.labels import read_names
from sightbox.model import Card
from sightbox.schema import Json, card_to_json
from sightbox.settings import load_settings
from sightbox.store import Store


def show(*, as_json: bool) -> None:
    """Lists the models that are here, damaged ones too, and those that can be fetched."""
    store = _store()
    here = {name: _card_or_problem(store, name) for name in store.names()}
    others = [name for name in known_names() if name not in here]
    default = store.default_name()
    if as_json:
        models = [_entry(name, found) for name, found in here.items()]
        listed = {"default": default, "models": models, "available": others}
        print(to_json(listed, indent=2))  # noqa: T201
        return
    rows = [
        _row(name, found, "default" if name == default else "here") for name, found in here.items()
    ]
    for name in others:
        state = "comes with Sightbox" if name == EMBEDDED else f"sightbox models fetch {name}"
        rows.append(_row(name, known(name).card, state))
    print_rows(console(), rows, ("name", "network", "classes", "top-1", "state"))


def fetch(name: str) -> None:
    """Fetches official weights with a progress bar."""
    fetch_with_bar(_store(), name, console())


def import_file(
    file: Path, *, name: str | None, architecture: str | None, labels: Path | None
) -> None:
    """Imports a weights file or an exported model."""
    names = read_names(labels) if labels is not None else ()
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


def uncalibrate(name: str | None) -> None:
    """Takes the calibration out of a model's card."""
    store = _store()
    chosen = name or store.default_name()
    store.calibrate(chosen, None)
    console().print(f"{chosen} gives plain softmax scores.")


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


def fetch_with_bar(store: Store, name: str, screen: Console) -> None:
    """Fetches official weights, and shows how far it has come."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task(name, total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        store.fetch(name, advance)
    screen.print(f"{name} is ready.")


def _card_or_problem(store: Store, name: str) -> Card | ModelError:
    try:
        return store.open(name).card
    except ModelError as error:
        return error


def _entry(name: str, found: Card | ModelError) -> Json:
    if isinstance(found, ModelError):
        return {"name": name, "problem": str(found)}
    return card_to_json(found)


def _row(name: str, found: Card | ModelError, state: str) -> list[str]:
    if isinstance(found, ModelError):
        return [name, "", "", "", f"damaged: {found}"]
    accuracy = f"{found.accuracy['top1']:.1f} %" if found.accuracy else "unknown"
    return [name, found.title, str(found.classes or ""), accuracy, state]
