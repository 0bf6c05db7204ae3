"""The options of ``sightbox bench``."""

from pathlib import Path
from typing import Annotated

import typer

HERE = "This machine"
THERE = "A running server: --serve"

QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick", help="A short run, without torch: half a minute.", rich_help_panel=HERE
    ),
]
MarkdownOption = Annotated[
    Path | None,
    typer.Option(help="File for it as Markdown.", show_default=False, rich_help_panel=HERE),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(help="File for it as a page.", show_default=False, rich_help_panel=HERE),
]
ModelOption = Annotated[str | None, typer.Option(help="Name of the model.", show_default=False)]
JsonOption = Annotated[
    Path | None, typer.Option(help="File for the report as JSON.", show_default=False)
]
ServeOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Load this server instead; a URL with a path is asked as it stands.",
        show_default=False,
        rich_help_panel=THERE,
    ),
]
DialectOption = Annotated[
    str | None,
    typer.Option(
        help="native, open-inference, torchserve, huggingface or photoprism; raw posts the file "
        "and does not look at the answer.",
        show_default="native",
        rich_help_panel=THERE,
    ),
]
ClientsOption = Annotated[
    int | None,
    typer.Option(
        "--clients",
        "-c",
        min=1,
        max=10_000,
        help="Closed loop: so many clients, each of which waits for its answer.",
        show_default="1",
        rich_help_panel=THERE,
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=1_000_000,
        help="Open loop: so many requests a second, whatever the server does.",
        show_default=False,
        rich_help_panel=THERE,
    ),
]
ArrivalsOption = Annotated[
    str | None,
    typer.Option(
        help="When requests of the open loop are due: fixed or poisson.",
        show_default="fixed",
        rich_help_panel=THERE,
    ),
]
DurationOption = Annotated[
    float | None,
    typer.Option(
        "--duration",
        "-d",
        min=0.1,
        max=86_400,
        help="Seconds.",
        show_default="10",
        rich_help_panel=THERE,
    ),
]
ConnectionsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=60_000,
        help="Most connections of the open loop.",
        show_default="256",
        rich_help_panel=THERE,
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=3_600,
        help="Seconds until a request counts as failed.",
        show_default="30",
        rich_help_panel=THERE,
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the pictures that are sent in turn.",
        show_default="drawn mountains",
        rich_help_panel=THERE,
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(help="The server's token.", show_default=False, rich_help_panel=THERE),
]
HdrOption = Annotated[
    Path | None,
    typer.Option(
        help="File for the latencies, as HdrHistogram's plotter reads them.",
        show_default=False,
        rich_help_panel=THERE,
    ),
]

ScenarioArgument = Annotated[
    str | None,
    typer.Argument(help="SingleStream, MultiStream, Server or Offline; all four when not given."),
]
BackendOption = Annotated[
    str | None, typer.Option(help="What runs the network.", show_default="as tuned")
]
VariantOption = Annotated[
    str | None, typer.Option(help="fp32, int8, bf16 or fp16.", show_default="as tuned")
]
LeastDurationOption = Annotated[
    float, typer.Option("--duration", "-d", min=0.1, help="Least seconds of each run.")
]
QueriesOption = Annotated[
    int | None,
    typer.Option(min=1, help="Least queries of each run.", show_default="as many as LoadGen wants"),
]
TargetOption = Annotated[
    float, typer.Option(min=0.001, help="Server: latency that 99 of 100 pictures must hold.")
]
PicturesOption = Annotated[
    Path | None, typer.Option(help="Folder with the pictures.", show_default="drawn mountains")
]
AccuracyOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder with pictures whose class is known: count how many are named rightly.",
        show_default=False,
    ),
]
