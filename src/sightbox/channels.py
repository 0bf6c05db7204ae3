"""Feature maps as pictures: which channels are the strongest, and how numbers become levels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_SIDE = 128
"""Longest side of a shown map, px; larger ones are averaged. The first maps of 224 px have 112."""

Floats = NDArray[np.float32]


class Plane(NamedTuple):
    """One channel as a grey picture.

    Attributes:
        pixels: uint8 [h, w].
        channel: Its number, from 0.
        low: The value that level 0 stands for.
        high: The value that level 255 stands for.
    """

    pixels: NDArray[np.uint8]
    channel: int
    low: float
    high: float


def strongest(maps: Floats, count: int) -> list[int]:
    """Returns the numbers of the channels with the largest mean magnitude, the largest first.

    Args:
        maps: float32 [D, h, w].
        count: Most channels.
    """
    strengths = np.abs(maps).mean(axis=(1, 2), dtype=np.float64)
    return [int(channel) for channel in np.argsort(-strengths, kind="stable")[:count]]


def plane(
    values: Floats, channel: int, low: float | None = None, high: float | None = None
) -> Plane:
    """Draws one channel.

    Args:
        values: float32 [h, w].
        channel: Its number.
        low: What becomes level 0; the least value when not given.
        high: What becomes level 255; the largest value when not given.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    # A channel of one value only has no contrast to show: it is drawn black.
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    levels = scaled.clip(0, 255).round().astype(np.uint8)
    picture = Image.fromarray(levels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return Plane(np.asarray(picture), channel, low, high)


def palette(stops: Sequence[tuple[int, int, int]]) -> bytes:
    """Returns the colours of the levels 0 to 255, three bytes each, between evenly spaced stops.

    Args:
        stops: Two or more colours, RGB, 0 to 255.
    """
    places = np.linspace(0, 255, len(stops))
    channels = [np.interp(np.arange(256), places, part) for part in zip(*stops, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8).tobytes()
