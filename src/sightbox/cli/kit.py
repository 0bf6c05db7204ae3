"""``sightbox kit``: all that an installation without a network needs, as one file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn

from sightbox.catalogue import EMBEDDED
from sightbox.cli.screen import console
from sightbox.errors import KitError
from sightbox.kit import check_kit, write_kit
from sightbox.settings import load_settings
from sightbox.store import Store
from sightbox.wheels import collect_wheels

BYTES_PER_MB = 1_000_000


def run(target: Path, models: Sequence[str]) -> None:
    """Writes a kit with the models of these names; the default and the embedded one when empty.

    Raises:
        KitError: The kit cannot be made or written.
        DownloadError: A wheel could not be had.
        ModelError: A model is damaged.
    """
    settings = load_settings()
    store = Store(settings.home)
    screen = console()
    if not target.parent.is_dir():
        raise KitError(f"There is no folder {target.parent} to write to.")
    names = models or [settings.model or store.default_name(), EMBEDDED]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kit.") as scratch:
        wheels, exported = Path(scratch) / "wheels", Path(scratch) / "models"
        wheels.mkdir()
        exported.mkdir()
        with screen.status("Collecting the wheels: this asks the package index"):
            collect_wheels(wheels)
        for name in dict.fromkeys(names):
            with screen.status(f"Exporting {name}"):
                store.export(name, exported / f"{name}.zip")
        try:
            digest = _write(wheels, exported, target, screen)
        except OSError as error:
            raise KitError(f"{target} cannot be written: {error.strerror}.") from error
    size = target.stat().st_size / BYTES_PER_MB
    screen.print(f"{target} has {size:.0f} MB. The sha256 of its manifest: {digest}")
    screen.print(f"On the other machine: tar -xf {target.name} && sh install.sh")


def check(kit: Path) -> int:
    """Checks a kit, prints what is wrong, and returns the exit code.

    Raises:
        KitError: It is no kit.
    """
    screen = console()
    with screen.status("Reading") as status:
        faults = check_kit(kit, lambda name, *_: status.update(f"Reading {name}"))
    for fault in faults:
        screen.print(f"{fault.file}: {fault.problem}")
    if not faults:
        screen.print(f"{kit} is as it was written.")
    return 1 if faults else 0


def _write(wheels: Path, models: Path, target: Path, screen: Console) -> str:
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    ) as progress:
        task = progress.add_task("Writing")

        def advance(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        return write_kit(wheels, models, target, advance)
