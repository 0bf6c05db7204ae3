"""The commands that prove and carry Sightbox: ``verify`` and ``kit``."""

from pathlib import Path
from typing import Annotated

import typer

from sightbox.cli.interrupts import instant_interrupts


def verify(
    json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Prove that all files are whole, all engines right, and no network is needed.

    Files are compared with their sha256, the answers of every backend and variant with reference
    answers; then the page, every protocol and the command line run while connections are denied.
    Exit code: 0 all is as it should be, 1 something is not.

    [bold]Examples[/bold]

      sightbox verify

      sightbox verify --json > report.json
    """
    with instant_interrupts():
        from sightbox.cli import verify as command  # noqa: PLC0415

    raise typer.Exit(command.run(as_json=json))


def kit(
    file: Annotated[Path, typer.Argument(help="The kit: a tar file.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model that goes along; may be given several times.",
            show_default="the default one and the embedded one",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare a kit with its manifest instead.")
    ] = False,
) -> None:
    """Write all that an installation without a network needs into one file.

    Wheels for this system and this version of Python, models, a manifest, and an install.sh. Only
    this command needs the package index, or pip's cache; the other machine needs Python alone.
    Exit code of --check: 0 the kit is as it was written, 1 it is not.

    [bold]Examples[/bold]

      sightbox kit sightbox.tar

      sightbox kit --check sightbox.tar
    """
    with instant_interrupts():
        from sightbox.cli import kit as command  # noqa: PLC0415

    if check:
        raise typer.Exit(command.check(file))
    command.run(file, model or [])
