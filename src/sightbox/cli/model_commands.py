"""The commands of ``sightbox models`` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from sightbox.cli.interrupts import instant_interrupts

models = typer.Typer(help="List, fetch, import, export, remove and verify models.")


@models.command("list")
def models_list(
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the models that are here, and those that can be fetched."""
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.show(as_json=json)


@models.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="resnet18, resnet34 or resnet50.")],
) -> None:
    """Fetch the official weights of a network; an interrupted fetch goes on where it stopped.

    [bold]Example[/bold]

      sightbox models fetch resnet18
    """
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.fetch(name)


@models.command("import")
def models_import(
    file: Annotated[Path, typer.Argument(help="A .pth or .safetensors file, or an export.")],
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    arch: Annotated[str | None, typer.Option(help="The network, for weights of your own.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Names of your classes: one a line, or a JSON list.")
    ] = None,
) -> None:
    """Import official weights, weights of your own, or an exported model.

    [bold]Examples[/bold]

      sightbox models import resnet18-f37072fd.pth

      sightbox models import parts.pth --arch resnet18 --name parts --labels parts.txt
    """
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.import_file(file, name=name, architecture=arch, labels=labels)


@models.command("export")
def models_export(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    file: Annotated[Path, typer.Argument(help="The zip file to write.")],
) -> None:
    """Write a model as one file, to be imported on another machine.

    [bold]Example[/bold]

      sightbox models export efficientnet-lite0 model.zip
    """
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.export(name, file)


@models.command("optimize")
def models_optimize(
    name: Annotated[str | None, typer.Argument(help="Name of the model; the default one.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="A folder with pictures like yours; else drawn ones. Where folders or the "
            "beginnings of file names are classes, such as n02123045_7.jpg, accuracy is told too."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="int8 or bf16.")] = "int8",
) -> None:
    """Make a faster variant of a model, and measure how far it agrees with fp32.

    Exit code: 0 it agrees well enough (setting least_agreement), 1 it does not.

    [bold]Examples[/bold]

      sightbox models optimize

      sightbox models optimize resnet18 --images photos

      sightbox models optimize --precision bf16
    """
    with instant_interrupts():
        from sightbox.cli import optimize as command  # noqa: PLC0415

    raise typer.Exit(command.run(name, images, precision))


@models.command("uncalibrate")
def models_uncalibrate(
    name: Annotated[str | None, typer.Argument(help="Name of the model; the default one.")] = None,
) -> None:
    """Take out of a model's card what sightbox eval --calibrate --save put in.

    Scores are plain softmax then, and no answer is called sure or not.

    [bold]Example[/bold]

      sightbox models uncalibrate efficientnet-lite0
    """
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.uncalibrate(name)


@models.command("remove")
def models_remove(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
    """Remove a model."""
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    command.remove(name)


@models.command("verify")
def models_verify(
    name: Annotated[str | None, typer.Argument(help="Name of the model; all of them.")] = None,
) -> None:
    """Compare every file of a model with the sha256 in its card. Exit code 1 when one differs."""
    with instant_interrupts():
        from sightbox.cli import models as command  # noqa: PLC0415

    raise typer.Exit(command.verify(name))
