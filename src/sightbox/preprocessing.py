"""Turns an RGB picture into the uint8 pixels that a model reads, as its card says.

With ``fit="crop"`` the bytes are those of torchvision's ``Resize`` and ``CenterCrop`` on a Pillow
picture. Only where it is hundreds of times as long as wide may bytes differ: by a level with
``bilinear``, by more with sharper filters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from sightbox.errors import ImageError, ModelError, RequestError

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fit = Literal["crop", "squash", "pad"]
Preprocessing = Literal["exact", "fast", "nearest"]
Pixels = npt.NDArray[np.uint8]

#: How exactly a picture is prepared. ``fast`` resizes only what the crop keeps; ``nearest`` does so
#: and takes the nearest pixel instead of the recipe's filter. Both change the answer a little.
PREPROCESSINGS: tuple[Preprocessing, ...] = get_args(Preprocessing)

#: Pixels of a whole resized picture. One that is hundreds of times as long as wide would be blown
#: up to gigabytes, of which the crop keeps little.
MAX_WHOLE_PIXELS = 16_000_000

_FILTERS: dict[str, Image.Resampling] = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
}


@dataclass(frozen=True)
class Recipe:
    """What happens to a picture before it enters the model; the numbers come from its card.

    Attributes:
        resize: Length of the short side after resizing, px; used by ``fit="crop"`` alone.
        crop: Side of the square that the model reads, px.
        interpolation: Pillow's filter, antialiased where it shrinks (except ``nearest``).
        fit: How a picture that is no square becomes one. ``crop``: its centre is kept, padded with
            black where it is smaller. ``squash``: it is stretched. ``pad``: all of it is kept,
            centred on black.

    Raises:
        ModelError: A number is below 1, or a name is unknown.
    """

    resize: int
    crop: int
    interpolation: Interpolation
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if min(self.resize, self.crop) < 1:
            raise ModelError(f"The recipe has {self.resize} and {self.crop} px; 1 is the least.")
        if self.interpolation not in _FILTERS:
            raise ModelError(f"The recipe's interpolation {self.interpolation!r} is unknown.")
        if self.fit not in {"crop", "squash", "pad"}:
            raise ModelError(f"The recipe's fit {self.fit!r} is unknown.")


def check_preprocessing(name: str) -> Preprocessing:
    """Returns `name` when it is one of `PREPROCESSINGS`.

    Raises:
        RequestError: It is not.
    """
    for known in PREPROCESSINGS:
        if name == known:
            return known
    raise RequestError(
        f"There is no preprocessing {name!r}.", f"There are {', '.join(PREPROCESSINGS)}."
    )


def prepare(
    image: Image.Image,
    recipe: Recipe,
    out: Pixels | None = None,
    preprocessing: Preprocessing = "exact",
) -> Pixels:
    """Prepares one picture.

    Args:
        image: Mode RGB, upright.
        recipe: What to do.
        out: Where to write: uint8 ``[crop, crop, 3]``, for example a row of a batch.
        preprocessing: One of `PREPROCESSINGS`.

    Returns:
        ``out``, or a new contiguous array: uint8 ``[crop, crop, 3]``, values 0 to 255.

    Raises:
        ImageError: The picture is empty or of another mode.
    """
    if image.mode != "RGB" or 0 in image.size:
        raise ImageError(
            f"The picture has the mode {image.mode} and {image.width} x {image.height} pixels.",
            "Convert it with `sightbox.image.to_rgb`.",
        )
    if preprocessing == "nearest":
        recipe = replace(recipe, interpolation="nearest")
    if preprocessing == "exact" or recipe.fit != "crop":
        fitted = resize_whole(image, recipe).kept()
    else:
        fitted = _resize_kept(image, *_centred(image, recipe), _FILTERS[recipe.interpolation])
    return place(fitted, recipe.crop, out)


class Resized(NamedTuple):
    """A picture after its resize and before its crop.

    Attributes:
        image: The picture.
        box: What of it the crop keeps: left, top, right, bottom, px.
    """

    image: Image.Image
    box: tuple[int, int, int, int]

    def kept(self) -> Image.Image:
        """Returns the part that the crop keeps."""
        return self.image.crop(self.box)


def resize_whole(image: Image.Image, recipe: Recipe) -> Resized:
    """Resizes a picture as the recipe says, and tells what its crop keeps.

    Where all of it would have more than `MAX_WHOLE_PIXELS` only what is kept is resized.

    Args:
        image: Mode RGB, upright.
        recipe: What to do.
    """
    if recipe.fit == "crop":
        columns, rows = _centred(image, recipe)
        resample = _FILTERS[recipe.interpolation]
        if columns.whole * rows.whole <= MAX_WHOLE_PIXELS:
            # A resize of the kept part alone changes bytes: Pillow's `box` is float32, and the
            # order of its two passes depends on the sizes and on its version.
            resized = image.resize((columns.whole, rows.whole), resample)
            return Resized(resized, (columns.first, rows.first, columns.last, rows.last))
        resized = _resize_kept(image, columns, rows, resample)
    else:
        resized = _FITS[recipe.fit](image, recipe)
    return Resized(resized, (0, 0, *resized.size))


def place(fitted: Image.Image, side: int, out: Pixels | None = None) -> Pixels:
    """Puts a picture into the middle of a black square.

    Args:
        fitted: Mode RGB, no side longer than the square's.
        side: The square's, px.
        out: Where to write: uint8 ``[side, side, 3]``.

    Returns:
        ``out``, or a new contiguous array: uint8 ``[side, side, 3]``, values 0 to 255.
    """
    if out is None:
        out = np.empty((side, side, 3), np.uint8)
    if fitted.size != (side, side):
        out.fill(0)
    left, top = (side - fitted.width) // 2, (side - fitted.height) // 2
    out[top : top + fitted.height, left : left + fitted.width] = np.asarray(fitted)
    return out


def seen_region(width: int, height: int, recipe: Recipe) -> tuple[float, float, float, float]:
    """Finds the part of a picture that the model sees, as left, top, width and height in px.

    Where a picture is padded the part reaches beyond its edges.

    Args:
        width: Of the upright picture, px.
        height: Likewise.
        recipe: What happens to it.
    """
    if recipe.fit == "squash":
        return 0, 0, width, height
    sides = []
    for source in (width, height):
        if recipe.fit == "pad":
            whole = max(1, recipe.crop * source // max(width, height))
            kept = _Axis(source, whole, 0, whole)
        else:
            short = min(width, height)
            kept = _centre(source, recipe.resize * source // short, recipe.crop)
        padding = (recipe.crop - (kept.last - kept.first)) // 2
        scale = kept.source / kept.whole
        sides.append(((kept.first - padding) * scale, recipe.crop * scale))
    (left, across), (top, down) = sides
    return left, top, across, down


def _squash(image: Image.Image, recipe: Recipe) -> Image.Image:
    return image.resize((recipe.crop, recipe.crop), _FILTERS[recipe.interpolation])


def _pad(image: Image.Image, recipe: Recipe) -> Image.Image:
    longest = max(image.size)
    width, height = (max(1, recipe.crop * side // longest) for side in image.size)
    return image.resize((width, height), _FILTERS[recipe.interpolation])


def _centred(image: Image.Image, recipe: Recipe) -> tuple["_Axis", "_Axis"]:
    """Resizes the short side and keeps the centre; less than the crop where there is less."""
    short = min(image.size)
    columns, rows = (
        _centre(side, recipe.resize * side // short, recipe.crop) for side in image.size
    )
    return columns, rows


class _Axis(NamedTuple):
    """One side of a picture, px: its length, the length it is resized to, the part kept of that."""

    source: int
    whole: int
    first: int
    last: int

    def box(self) -> tuple[float, float]:
        """Finds where in the source the kept part begins and ends."""
        return self.first * self.source / self.whole, self.last * self.source / self.whole

    def window(self) -> tuple[int, int]:
        """Finds the source pixels that the kept part is made of, and a few more."""
        # 3 is the reach of Lanczos, Pillow's widest filter, where nothing is shrunk.
        reach = 3 * max(1.0, self.source / self.whole) + 1
        start, stop = self.box()
        return max(0, math.floor(start - reach)), min(self.source, math.ceil(stop + reach))


def _centre(source: int, whole: int, crop: int) -> _Axis:
    """Keeps the middle as torchvision's ``center_crop`` does: halves go to the even number."""
    first = max(0, round((whole - crop) / 2))
    return _Axis(source, whole, first, min(first + crop, whole))


def _resize_kept(
    image: Image.Image, columns: _Axis, rows: _Axis, resample: Image.Resampling
) -> Image.Image:
    """Resizes only what is kept: little memory, and bytes that may be a level off."""
    (left, right), (top, bottom) = columns.window(), rows.window()
    (x0, x1), (y0, y1) = columns.box(), rows.box()
    # The smaller the numbers in the box, the finer the steps of a float32.
    return image.crop((left, top, right, bottom)).resize(
        (columns.last - columns.first, rows.last - rows.first),
        resample,
        (x0 - left, y0 - top, x1 - left, y1 - top),
    )


_FITS: dict[str, Callable[[Image.Image, Recipe], Image.Image]] = {
    "squash": _squash,
    "pad": _pad,
}
