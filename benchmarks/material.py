"""What is measured with: a network with seeded weights, its int8 variant, and photos."""

import argparse
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from sightbox.agreement import compare
from sightbox.backends import Pixels, create_backend
from sightbox.drawing import calibration_pictures
from sightbox.machine import usable_cores
from sightbox.model import GRAPH, Model, graph_file
from sightbox.quantization import CALIBRATING, quantize
from sightbox.store import Store, default_home

SEEDED = "seeded-resnet18"
ARCHITECTURE = "resnet18"
SEED = 18
PHOTO_SIZE = (500, 375)
"""Width and height of a drawn photo, px: the usual size of ImageNet's photos."""

INT8 = "int8"
COMPARED = 64
"""Drawn pictures that the agreement of int8 is told of."""

FIT_BATCH = 16
"""Drawn pictures that the seeded network's statistics are taken from."""


def arguments(description: str) -> argparse.ArgumentParser:
    """Returns a parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", help="a prepared model; resnet18 with seeded weights if absent")
    parser.add_argument("--photos", type=Path, help="folder with photos; drawn ones if absent")
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    parser.add_argument("--calibration", type=int, default=CALIBRATING, help=argparse.SUPPRESS)
    return parser


@contextmanager
def prepared(name: str | None, calibration: int = CALIBRATING) -> Iterator[tuple[Path, Model]]:
    """Gives a home folder and a model in it that has an int8 variant.

    Args:
        name: Name of a prepared model of the user's own home, which is not changed; the seeded
            network when None.
        calibration: Drawn pictures that calibrate int8, where the model has no such variant.
    """
    with tempfile.TemporaryDirectory(prefix="sightbox-benchmark-") as folder:
        store = Store(Path(folder) / "home")
        file = Path(folder) / (f"{SEEDED}.pth" if name is None else f"{name}.zip")
        if name is None:
            _save_seeded(file)
            model = store.import_file(file, name=SEEDED, architecture=ARCHITECTURE)
        else:
            Store(default_home()).export(name, file)
            model = store.import_file(file, name=name)
        file.unlink()
        yield store.home, _with_int8(store, model, calibration)


def _save_seeded(file: Path) -> None:
    """Saves torchvision's network with random weights whose answers differ from photo to photo.

    The statistics of its batch norms are those of drawn pictures, as training would have left
    them, and the last bias takes off the mean: else one class would win for every photo.
    """
    # Seconds and a gigabyte that no benchmark of a prepared model needs.
    import torch  # noqa: PLC0415
    import torchvision  # noqa: PLC0415

    torch.manual_seed(SEED)
    network = torchvision.models.get_model(ARCHITECTURE, weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over what was seen
    pictures = np.stack(list(calibration_pictures(FIT_BATCH, 224)))
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        network.train()(batch)
        network.fc.bias -= network.eval()(batch).mean(0)
    torch.save(network.state_dict(), file)


def _with_int8(store: Store, model: Model, calibration: int) -> Model:
    if graph_file(INT8) in model.card.files:
        return model
    side = model.card.recipe.crop
    graph = quantize(model.read(GRAPH), calibration_pictures(calibration, side))
    pictures = np.stack(list(calibration_pictures(min(COMPARED, calibration), side, seed=1)))
    draft = store.add_variant(model, INT8, graph, "")
    answers = []
    for variant in ("fp32", INT8):
        backend = create_backend("onnxruntime")
        backend.load(draft, usable_cores(), variant)
        answers.append(backend.run(pictures)["logits"])
        backend.close()
    exact, fast = answers
    return store.add_variant(model, INT8, graph, compare(exact, fast).to_json())


def pixels(model: Model, count: int) -> Pixels:
    """Returns drawn pictures of the model's input size, uint8 [N, H, W, 3]."""
    return np.stack(list(calibration_pictures(count, model.card.recipe.crop, seed=2)))


@contextmanager
def photos(folder: Path | None, count: int) -> Iterator[list[Path]]:
    """Gives photo files: the first `count` of a folder by name, or JPEGs of drawn pictures."""
    if folder is not None:
        yield sorted(path for path in folder.iterdir() if path.is_file())[:count]
        return
    with tempfile.TemporaryDirectory(prefix="sightbox-photos-") as made:
        width, height = PHOTO_SIZE
        for number, drawn in enumerate(calibration_pictures(count, width, seed=3)):
            top = (width - height) // 2
            content = io.BytesIO()
            Image.fromarray(drawn[top : top + height]).save(content, "JPEG", quality=95)
            Path(made, f"{number:03}.jpg").write_bytes(content.getvalue())
        yield sorted(Path(made).iterdir())
