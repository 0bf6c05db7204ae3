"""Whatever shows a picture - a path, bytes, an array, a Pillow image - to what a model reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.errors import ImageError, RequestError
from sightbox.image import DecodedImage, ImageLimits, OpenedImage, open_image
from sightbox.prediction import ImageInfo
from sightbox.preprocessing import Preprocessing, Recipe, prepare
from sightbox.upright import array_to_image, to_rgb, turn_upright

MAX_FILE_BYTES = 256 * 1024**2
"""Largest file that is read, in bytes: a 50-megapixel PNG without compression has 150 MB."""

Picture = str | Path | bytes | bytearray | memoryview | NDArray[np.uint8] | Image.Image
"""What can be classified: a path, an encoded file, an array, or a Pillow image."""


@dataclass(frozen=True)
class PreparedPicture:
    """A picture that is ready for the engine.

    Attributes:
        pixels: What the model reads, uint8 [H, W, 3].
        image: The picture as it was seen.
        waited: Seconds until a core and the memory were free for it.
        decoding: Seconds that decoding took.
        preprocessing: Seconds that resizing and cropping took.
    """

    pixels: NDArray[np.uint8]
    image: ImageInfo
    waited: float
    decoding: float
    preprocessing: float


def prepare_picture(
    picture: Picture,
    recipe: Recipe,
    limits: ImageLimits,
    preprocessing: Preprocessing = "exact",
    permit: Callable[[int], None] = lambda _: None,
) -> PreparedPicture:
    """Decodes one picture and makes it into what a model reads.

    Args:
        picture: A path, the bytes of an image file, a Pillow image, or an array: uint8 [H, W, 3]
            RGB, [H, W, 4] RGBA or [H, W] grey.
        recipe: What the model's card says.
        limits: Which files are accepted.
        preprocessing: One of `PREPROCESSINGS`. All but ``exact`` decode a JPEG at a part of its
            size, as long as its short side stays as long as the recipe's.
        permit: Is called with the number of pixels when the header has been read; decoding begins
            when it returns.

    Raises:
        ImageError: The picture cannot be read.
        RequestError: The picture is of a wrong type.
    """
    least_side = None if preprocessing == "exact" else max(recipe.resize, recipe.crop)
    start = perf_counter()
    opened = _open(picture, limits)
    asked = perf_counter()
    permit(opened.width * opened.height)
    permitted = perf_counter()
    image = _decode(opened, least_side)
    decoded = perf_counter()
    pixels = prepare(image.pixels, recipe, preprocessing=preprocessing)
    prepared = perf_counter()
    return PreparedPicture(
        pixels,
        ImageInfo(image.width, image.height, image.format or None),
        waited=permitted - asked,
        decoding=asked - start + decoded - permitted,
        preprocessing=prepared - decoded,
    )


def read_picture(
    picture: Picture, limits: ImageLimits, least_side: int | None = None
) -> DecodedImage:
    """Decodes one picture: upright, RGB.

    Args:
        picture: See `prepare_picture`.
        limits: Which files are accepted.
        least_side: A JPEG may be decoded at a part of its size whose short side is no less, px.

    Raises:
        ImageError: The picture cannot be read.
        RequestError: The picture is of a wrong type.
    """
    return _decode(_open(picture, limits), least_side)


def encoded(picture: Picture) -> bytes | bytearray | None:
    """Returns the bytes of an image file; None where the picture is pixels already.

    Raises:
        ImageError: The file cannot be read.
    """
    if isinstance(picture, str | Path):
        return _read_file(Path(picture))
    if isinstance(picture, memoryview):
        return bytes(picture)
    return picture if isinstance(picture, bytes | bytearray) else None


def _open(picture: Picture, limits: ImageLimits) -> OpenedImage | Image.Image:
    content = encoded(picture)
    if content is not None:
        return open_image(content, limits)
    if isinstance(picture, np.ndarray):
        return array_to_image(picture)
    if isinstance(picture, Image.Image):
        return picture
    raise RequestError(
        f"A {type(picture).__name__} is no picture.",
        "Give a path, bytes, a uint8 array or a Pillow image.",
    )


def _decode(opened: OpenedImage | Image.Image, least_side: int | None) -> DecodedImage:
    if isinstance(opened, OpenedImage):
        return opened.decode(least_side)
    pixels = to_rgb(turn_upright(opened))
    return DecodedImage(pixels, opened.format or "", *pixels.size)


def _read_file(path: Path) -> bytes:
    try:
        # Not `stat`: devices and pipes say 0 bytes and may never end.
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        # A ValueError is what `open` makes of a name with a NUL character.
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"The file cannot be read: {reason}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ImageError(
            f"The file has more than {MAX_FILE_BYTES:,} bytes, which is the limit.",
            "Is it a picture?",
        )
    return content
