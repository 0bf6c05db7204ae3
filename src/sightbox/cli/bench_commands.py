"""The commands of ``sightbox bench`` and their options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sightbox.cli.bench_options import (
    AccuracyOption,
    ArrivalsOption,
    BackendOption,
    ClientsOption,
    ConnectionsOption,
    DialectOption,
    DurationOption,
    HdrOption,
    HtmlOption,
    ImagesOption,
    JsonOption,
    LeastDurationOption,
    MarkdownOption,
    ModelOption,
    PicturesOption,
    QueriesOption,
    QuickOption,
    RateOption,
    ScenarioArgument,
    ServeOption,
    TargetOption,
    TimeoutOption,
    TokenOption,
    VariantOption,
)
from sightbox.cli.interrupts import instant_interrupts
from sightbox.errors import RequestError

bench = typer.Typer(invoke_without_command=True)


@bench.callback()
def measure(
    context: typer.Context,
    model: ModelOption = None,
    json: JsonOption = None,
    quick: QuickOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
    serve: ServeOption = None,
    dialect: DialectOption = None,
    clients: ClientsOption = None,
    rate: RateOption = None,
    arrivals: ArrivalsOption = None,
    duration: DurationOption = None,
    connections: ConnectionsOption = None,
    timeout: TimeoutOption = None,
    images: ImagesOption = None,
    token: TokenOption = None,
    hdr: HdrOption = None,
) -> None:
    """Measure how fast this machine answers, every way there is, and check the answers.

    All ways take turns, round after round; a way whose answers are wrong and a machine that is busy
    with other work are marked. Two or three minutes on two cores. Exit code: 0, or 1 where no way
    gave the right answers.

    With --serve it is a running server that is loaded, by clients that wait for their answers or at
    a rate. Latency at a rate counts from when a request was due. Exit code: 0, or 1 where requests
    failed or answers were unreadable or differed.

    [bold]Examples[/bold]

      sightbox bench

      sightbox bench --quick --html report.html

      sightbox bench --serve http://127.0.0.1:8018 --clients 16

      sightbox bench --serve http://127.0.0.1:8018 --rate 20 --arrivals poisson --duration 60
    """
    if context.invoked_subcommand is not None:
        return
    here = {"quick": quick or None, "markdown": markdown, "html": html}
    there = {
        "dialect": dialect,
        "clients": clients,
        "rate": rate,
        "arrivals": arrivals,
        "seconds": duration,
        "connections": connections,
        "timeout": timeout,
        "token": token,
    }
    if serve is None:
        _refuse(there | {"images": images, "hdr": hdr}, "only for --serve URL")
        code = _measure_here(model, quick, json, markdown, html)
    else:
        _refuse(here, "not for --serve URL")
        code = _load_server(serve, there | {"model": model}, (images, json, hdr))
    raise typer.Exit(code)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    """Raises a `RequestError` where one of the options was given."""
    names = {"seconds": "duration"}
    given = [f"--{names.get(name, name)}" for name, value in options.items() if value is not None]
    if given:
        raise RequestError(f"{' and '.join(given)}: {reason}.")


def _measure_here(
    model: str | None, quick: bool, json: Path | None, markdown: Path | None, html: Path | None
) -> int:
    with instant_interrupts():
        from sightbox.cli import bench as command  # noqa: PLC0415

    return command.run(model, quick=quick, json_file=json, markdown=markdown, html=html)


def _load_server(url: str, given: Mapping[str, object], files: Sequence[Path | None]) -> int:
    with instant_interrupts():
        from sightbox.cli import load as command  # noqa: PLC0415

    return command.run(command.make_plan(url, given), command.Files(*files))


@bench.command("loadgen")
def loadgen(
    scenario: ScenarioArgument = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    variant: VariantOption = None,
    duration: LeastDurationOption = 10.0,
    queries: QueriesOption = None,
    target_ms: TargetOption = 100.0,
    images: PicturesOption = None,
    accuracy: AccuracyOption = None,
    json: JsonOption = None,
) -> None:
    """Run the scenarios of MLCommons' LoadGen; they are no MLPerf scores.

    A picture counts from its file to the named classes. Server finds the highest rate whose 99th
    percentile holds. With --accuracy each picture is asked once, and counted as sightbox eval
    does. Several minutes for all four. Exit code: 0, or 1 where LoadGen calls a run invalid or a
    picture could not be read. Needs the extra bench.

    [bold]Examples[/bold]

      sightbox bench loadgen SingleStream

      sightbox bench loadgen Server --target-ms 50 --json server.json

      sightbox bench loadgen --accuracy photos
    """
    with instant_interrupts():
        from sightbox.cli import loadgen as command  # noqa: PLC0415
        from sightbox.loadgen.scenarios import Task  # noqa: PLC0415

    if accuracy is not None:
        _refuse({"images": images, "queries": queries}, "not for --accuracy")
        if scenario is not None:
            raise RequestError("--accuracy asks for each picture once: give no scenario.")
    task = Task("", duration, queries, target_ms=target_ms)
    given = {"model": model, "backend": backend, "variant": variant}
    raise typer.Exit(
        command.run(scenario, task, images=images, labelled=accuracy, json_file=json, given=given)
    )


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
