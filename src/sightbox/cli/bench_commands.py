"""The commands of ``sightbox bench`` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from sightbox.cli.interrupts import instant_interrupts

bench = typer.Typer(invoke_without_command=True)


@bench.callback()
def measure(
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short run, without torch: half a minute.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="Name of the model.", show_default=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="File for the report as JSON.", show_default=False)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="File for it as Markdown.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="File for it as a page.", show_default=False)
    ] = None,
) -> None:
    """Measure how fast this machine answers, every way there is, and check the answers.

    All ways take turns, round after round; a way whose answers are wrong and a machine that is busy
    with other work are marked. Two or three minutes on two cores. Exit code: 0, or 1 where no way
    gave the right answers.

    [bold]Examples[/bold]

      sightbox bench

      sightbox bench --quick --html report.html
    """
    if context.invoked_subcommand is not None:
        return
    with instant_interrupts():
        from sightbox.cli import bench as command  # noqa: PLC0415

    raise typer.Exit(command.run(model, quick=quick, json_file=json, markdown=markdown, html=html))


@bench.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(help="The old report, JSON.")],
    after: Annotated[Path, typer.Argument(help="The new one.")],
) -> None:
    """Tell what changed between two reports beyond noise.

    Exit code: 0, or 1 where something is slower, larger, wrong or broken.

    [bold]Example[/bold]

      sightbox bench compare monday.json friday.json
    """
    with instant_interrupts():
        from sightbox.cli import bench_compare as command  # noqa: PLC0415

    raise typer.Exit(command.compare(before, after))


@bench.command("history")
def history(
    folder: Annotated[Path, typer.Argument(help="Folder with reports, JSON.")],
    html: Annotated[
        Path | None, typer.Option(help="File for a page with plots.", show_default=False)
    ] = None,
) -> None:
    """List the reports of a folder, the oldest first.

    [bold]Example[/bold]

      sightbox bench history reports --html history.html
    """
    with instant_interrupts():
        from sightbox.cli import bench_compare as command  # noqa: PLC0415

    raise typer.Exit(command.history(folder, html))
