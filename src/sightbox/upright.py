"""Makes any Pillow picture an upright RGB one, and Pillow's many errors one."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
from PIL import Image

from sightbox.errors import ImageError, ImageTooLargeError


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts a picture of any Pillow mode to RGB; returns it unchanged where it is RGB already.

    Opaque 8-bit pictures give what ``convert("RGB")`` gives; colour profiles are ignored, as in
    torchvision. What is transparent shows white. Of 16-bit grey the upper byte counts, as Pillow
    has it for 16-bit colour. Floats (mode F) are clipped to 0..255.

    Raises:
        ImageError: The picture is empty, or its pixels cannot be read.
    """
    if 0 in image.size:
        raise ImageError(f"The picture is empty: {image.width} x {image.height} pixels.")
    with pillow_errors("The picture's pixels cannot be read"):
        image.load()
        if image.mode.startswith("I"):
            image = _to_8_bits(image)
        if image.mode == "La":  # Pillow converts it to nothing else
            image = image.convert("LA")
        if image.has_transparency_data:
            return _over_white(image.convert("RGBA"))
        return image if image.mode == "RGB" else image.convert("RGB")


def turn_upright(image: Image.Image) -> Image.Image:
    """Turns a picture as its EXIF orientation asks; returns it unchanged where nothing is asked.

    Broken metadata asks for nothing.

    Raises:
        ImageError: The picture's pixels cannot be read.
    """
    with pillow_errors("The picture's pixels cannot be read"):
        image.load()  # EXIF may come after the pixels
        turn = _TURNS.get(_orientation(image.info.get("exif")))
        return image if turn is None else image.transpose(turn)


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation of a loaded picture: 1 (upright) to 8; 1 when it is broken."""
    found = _orientation(image.info.get("exif"))
    return found if found in _TURNS else 1


def as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """Turns an upright picture back to how a file of this EXIF orientation stores it."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(_BACK.get(turn, turn))


def lies_on_its_side(image: Image.Image) -> bool:
    """Tells whether `turn_upright` swaps width and height. The picture must be loaded."""
    return orientation_of(image) in _ON_THE_SIDE


def array_to_image(array: npt.NDArray[np.uint8]) -> Image.Image:
    """Makes an RGB picture of a uint8 array: ``[H, W, 3]``, ``[H, W]`` grey, ``[H, W, 4]`` RGBA.

    Raises:
        ImageError: The array has another type or shape, or is empty.
    """
    known_shape = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if array.dtype != np.uint8 or not known_shape or array.size == 0:
        raise ImageError(
            f"The array is {array.dtype} with the shape {list(array.shape)}.",
            "Give uint8 with the shape [H, W, 3] (RGB), [H, W, 4] (RGBA) or [H, W] (grey), "
            "values 0 to 255.",
        )
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)))


@contextmanager
def pillow_errors(what: str) -> Iterator[None]:
    """Turns what Pillow raises on bad bytes into an `ImageError` that starts with ``what``."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageTooLargeError(
            "The picture is too large to decode.", "Make it smaller."
        ) from error
    except _PILLOW_ERRORS as error:
        raise ImageError(f"{what}: {error or type(error).__name__}.", _SEND_AGAIN) from error


# From reading Pillow and from fuzzing. Warnings are raised only where the process asks for that.
_PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
_SEND_AGAIN = "Check that the picture opens elsewhere, and send the whole file again."

# EXIF 3.0, 4.6.5.1.6: where row 0 and column 0 of the stored picture are, values 2 to 8.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# All of them undo themselves but the quarter turns, which undo each other.
_BACK = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}

# Those of them that swap width and height.
_ON_THE_SIDE = range(5, 9)


def _orientation(exif: object) -> int:
    """Reads tag 274 from the first directory of EXIF bytes (TIFF 6.0, section 2); 1 if absent.

    Pillow's own reading would decode all other tags too, and warn about damaged ones.
    """
    tiff = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order:
        return 1
    with suppress(struct.error):
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == 274:
                # Type 3 is a 16-bit number, as the standard asks; some writers use 32 bits.
                form = order + ("H" if kind == 3 else "I")
                return int(struct.unpack_from(form, tiff, entry + 8)[0])
    return 1


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Keeps the upper byte of 16-bit grey, and its one transparent value, if any."""
    values = np.asarray(image).clip(0, 0xFFFF)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white
