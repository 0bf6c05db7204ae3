"""The commands and their options.

The module of a command is imported when the command runs, so that ``sightbox --help`` need not
load a runtime.
"""

from pathlib import Path
from typing import Annotated

import typer

import sightbox
from sightbox.cli.bench_commands import bench
from sightbox.cli.interrupts import instant_interrupts
from sightbox.cli.model_commands import models
from sightbox.cli.offline_commands import kit, verify
from sightbox.errors import RequestError

app = typer.Typer(
    name="sightbox",
    help="Say what pictures show: offline, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
EXACT = "fp32"
"""As in `sightbox.model`, which is not worth loading for ``--help``."""

app.add_typer(models, name="models", no_args_is_help=True)
app.add_typer(bench, name="bench")


ModelOption = Annotated[str | None, typer.Option(help="Name of the model.", show_default=False)]
BackendOption = Annotated[
    str | None, typer.Option(help="What runs the network.", show_default="as tuned")
]
VariantOption = Annotated[
    str | None, typer.Option(help="fp32, int8, bf16 or fp16.", show_default="as tuned")
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        help="Least probability, 0 to 1. Where no class reaches it, one line says: not sure; "
        "in CSV, one without a rank.",
        show_default="0",
    ),
]
ExactOption = Annotated[bool, typer.Option("--exact", help="The exact answer, whatever was tuned.")]
PreprocessingOption = Annotated[
    str | None, typer.Option(help="exact, or for speed fast or nearest.", show_default="exact")
]
ExplainOption = Annotated[
    Path | None,
    typer.Option(
        help="PNG file for the picture with the evidence for its first class over it.",
        show_default=False,
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        help="Another way to compare with: model=, variant=, preprocessing= or backend=.",
        show_default=False,
    ),
]
JournalOption = Annotated[
    Path | None,
    typer.Option(help="File that keeps each answer: go on where you stopped.", show_default=""),
]
CalibrateOption = Annotated[
    bool,
    typer.Option(
        "--calibrate",
        help="Fit a temperature to the scores, and a threshold from which an answer is sure.",
    ),
]
PrecisionOption = Annotated[
    float | None,
    typer.Option(
        help="The part of the sure answers that is to be right, 0 to 1.", show_default="0.95"
    ),
]
SaveOption = Annotated[
    bool, typer.Option("--save", help="Keep the calibration in the model's card, for all answers.")
]
ThreadsOption = Annotated[
    int | None, typer.Option(help="Threads of the engine.", show_default="as tuned")
]


def _exactness(variant: str | None, preprocessing: str | None, *, exact: bool) -> dict[str, object]:
    """Returns the settings that decide how exact the answer is."""
    if not exact:
        return {"variant": variant, "preprocessing": preprocessing}
    if (variant or EXACT, preprocessing or "exact") != (EXACT, "exact"):
        raise RequestError("--exact excludes another --variant and another --preprocessing.")
    return {"variant": EXACT, "preprocessing": "exact"}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightbox {sightbox.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Say what pictures show: offline, on this machine."""


@app.command()
def classify(
    paths: Annotated[
        list[str], typer.Argument(help="Pictures, folders or patterns; - reads one from stdin.")
    ],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Go into the folders of folders.")
    ] = False,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", help="Classes per picture.", show_default="5")
    ] = None,
    lang: Annotated[
        str, typer.Option(help="Language of the labels: en, zh, one of your own; both shows all.")
    ] = "both",
    min_score: MinScoreOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for all.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="One CSV line for each class.")] = False,
    explain: ExplainOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    variant: VariantOption = None,
    exact: ExactOption = False,
    preprocessing: PreprocessingOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Say what pictures show.

    Exit code: 0 all pictures were classified, 1 some were not, 2 wrong use.

    [bold]Examples[/bold]

      sightbox classify cat.jpg

      sightbox classify photos -r -k 1 --csv > album.csv

      cat photo.png | sightbox classify - --json

      sightbox classify cat.jpg --explain why.png
    """
    with instant_interrupts():
        from sightbox.cli import classify as command  # noqa: PLC0415

    raise typer.Exit(
        command.run(
            paths,
            recursive=recursive,
            language=lang,
            form=command.chosen_form(json=json, jsonl=jsonl, csv=csv),
            overlay=explain,
            given={
                "top_k": top_k,
                "min_score": min_score,
                "model": model,
                "backend": backend,
                **_exactness(variant, preprocessing, exact=exact),
                "threads": threads,
            },
        )
    )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(show_default="8018")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Answer the Open Inference Protocol over gRPC too.")
    ] = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    variant: VariantOption = None,
    exact: ExactOption = False,
    preprocessing: PreprocessingOption = None,
    threads: ThreadsOption = None,
    insecure: Annotated[
        bool | None,
        typer.Option(
            "--insecure", help="Listen to the network without a token.", show_default=False
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="text, or json for machines.", show_default="text")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error.", show_default="info")
    ] = None,
) -> None:
    """Serve the web page and the HTTP API.

    All other settings: docs/settings.md, as SIGHTBOX_... or in sightbox.toml.

    [bold]Examples[/bold]

      sightbox serve

      sightbox serve --port 9000

      sightbox serve --host 0.0.0.0

    A server that listens to others makes a token on its first start, and shows it then.
    """
    with instant_interrupts():
        from sightbox.cli import serve as command  # noqa: PLC0415

    given = {
        "host": host,
        "port": port,
        "grpc_port": grpc_port,
        "model": model,
        "backend": backend,
        **_exactness(variant, preprocessing, exact=exact),
        "threads": threads,
        "insecure": insecure,
        "log_format": log_format,
        "log_level": log_level,
    }
    raise typer.Exit(command.run(given))


@app.command()
def setup(
    fetch: Annotated[
        bool, typer.Option(help="Try once to fetch resnet18 over the network.")
    ] = True,
    tune: Annotated[
        bool, typer.Option(help="Measure how the default model runs fastest here: a minute.")
    ] = True,
) -> None:
    """Prepare the models: the embedded one, and resnet18 where the network allows.

    [bold]Examples[/bold]

      sightbox setup

      sightbox setup --no-fetch --no-tune
    """
    with instant_interrupts():
        from sightbox.cli import setup as command  # noqa: PLC0415

    raise typer.Exit(command.run(fetch=fetch, tune=tune))


@app.command()
def tune(
    name: Annotated[str | None, typer.Argument(help="Name of the model; the default one.")] = None,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Try more, for longer: several minutes.")
    ] = False,
) -> None:
    """Measure how a model runs fastest on this machine; from then on it does.

    Backends, variants, streams and batch sizes are tried on drawn photos, for one client and for
    many. Faster variants are made first where they are missing. They are chosen only if they agree
    with the exact one (setting least_agreement); --exact takes the exact one anyway.

    [bold]Examples[/bold]

      sightbox tune

      sightbox tune resnet18 --full
    """
    with instant_interrupts():
        from sightbox.cli import tune as command  # noqa: PLC0415

    command.run(name, full=full)


@app.command("eval")
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder with the pictures.")],
    table: Annotated[
        Path | None,
        typer.Option(help="CSV with path and class, or a list of ImageNet's.", show_default=False),
    ] = None,
    against: AgainstOption = None,
    journal: JournalOption = None,
    html: Annotated[
        Path | None, typer.Option(help="File for the report as a page.", show_default=False)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="File for the report as JSON.", show_default=False)
    ] = None,
    calibrate: CalibrateOption = False,
    precision: PrecisionOption = None,
    save: SaveOption = False,
    model: ModelOption = None,
    backend: BackendOption = None,
    variant: VariantOption = None,
    exact: ExactOption = False,
    preprocessing: PreprocessingOption = None,
) -> None:
    """Tell how right a model is over pictures whose class is known, and calibrate its scores.

    Folders are named by class or WordNet id, or file names begin with it: n02123045_7.jpg.
    Exit code: 0, or 1 where a picture could not be read or a precision cannot be promised.

    [bold]Examples[/bold]

      sightbox eval photos --html report.html

      sightbox eval val --journal val.jsonl --against variant=fp32

      sightbox eval photos --calibrate --precision 0.95 --save
    """
    with instant_interrupts():
        from sightbox.cli import calibrate as calibration  # noqa: PLC0415
        from sightbox.cli import evaluate as command  # noqa: PLC0415

    given = {"model": model, "backend": backend, **_exactness(variant, preprocessing, exact=exact)}
    raise typer.Exit(
        command.run(
            folder,
            table=table,
            against=against,
            journal=journal,
            html=html,
            json_file=json,
            wanted=calibration.wish(
                calibrate=calibrate, precision=precision, save=save, against=against
            ),
            given=given,
        )
    )


@app.command()
def info(
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show versions, processor, runtimes, models and paths.

    [bold]Example[/bold]

      sightbox info --json
    """
    with instant_interrupts():
        from sightbox.cli import info as command  # noqa: PLC0415

    command.run(as_json=json)


app.command()(verify)
app.command()(kit)
