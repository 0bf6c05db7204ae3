"""Golden answers: pictures that are the same everywhere, and what a network must say to them.

Those of the embedded model are shipped with the package. They were computed by PyTorch, from the
weights file to the logits without any code of Sightbox (tests/reference/shipped.py).
"""

import hashlib
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sightbox.catalogue import EMBEDDED
from sightbox.errors import ModelError

PHOTOS = 12
WIDTH, HEIGHT = 300, 260
"""Size of the drawn photos, px: larger than what most models read, so that they are resized."""

SHAPES = 10
"""Shapes in a photo."""

FILE = Path(__file__).parent / "data" / "golden" / f"{EMBEDDED}.npz"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Golden:
    """What the golden photos give.

    Attributes:
        logits: float32 [N, C].
        pixels: sha256 of what the model reads of each photo.
    """

    logits: NDArray[np.float32]
    pixels: tuple[str, ...]


def golden_photos() -> list[Pixels]:
    """Draws the photos, uint8 [H, W, 3].

    Whole numbers alone, from the bytes of SHAKE-128 (FIPS 202): NumPy promises neither the numbers
    of its generators nor the last digit of a transform, and every level must be the same on every
    machine.
    """
    return [_draw(number) for number in range(PHOTOS)]


def load_golden(file: Path = FILE) -> Golden:
    """Returns the golden answers of the embedded model.

    Raises:
        ModelError: The file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(file.read_bytes())) as arrays:
            golden = Golden(arrays["logits"], tuple(map(str, arrays["pixels"])))
    except (OSError, EOFError, LookupError, ValueError, BadZipFile, zlib.error) as error:
        raise ModelError(
            f"The golden answers {file} cannot be read: {error}.",
            "Install Sightbox again: pip install --force-reinstall sightbox.",
        ) from error
    return golden


def _draw(number: int) -> Pixels:
    stream = iter(np.frombuffer(_bytes(f"photo {number}", 4 * 1000), "<u4").tolist())

    def below(limit: int) -> int:
        return int(next(stream)) % limit

    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.int64)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.int64)
    for shape in range(SHAPES):
        # The first one is the ground: it covers everything.
        size = 10_000 if shape == 0 else 15 + below(110)
        tall = 1 + below(3)
        down, right = rows - below(HEIGHT), columns - below(WIDTH)
        round_one = down**2 * tall + right**2 < size**2
        square_one = np.maximum(np.abs(down) * tall, np.abs(right)) < size
        inside = round_one if below(2) else square_one
        slope = rows * (below(5) - 2) + columns * (below(5) - 2)
        stripes = ((rows * below(4) + columns * below(4)) // (2 + below(12))) % 2
        grain = _grain(f"grain {number} {shape}", 1 + below(16))
        strength, depth = below(60), below(50)
        for channel in range(3):
            paint = below(256) + slope // 4 + stripes * strength + (grain * depth) // 255
            canvas[..., channel] = np.where(inside, paint, canvas[..., channel])
    return canvas.clip(0, 255).astype(np.uint8)


def _grain(name: str, side: int) -> NDArray[np.int64]:
    """Returns a texture of squares of `side` px, 0 to 255, int64 [H, W]."""
    down, across = -(-HEIGHT // side), -(-WIDTH // side)
    cells = np.frombuffer(_bytes(name, down * across), np.uint8).reshape(down, across)
    return cells.repeat(side, 0).repeat(side, 1)[:HEIGHT, :WIDTH].astype(np.int64)


def _bytes(name: str, count: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(count)
