"""What is measured with: a snowy mountain, drawn by code, so that every machine gets the same."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.drawing import Pixels

SEED = 1792
"""The seed of the one picture that single answers are measured with."""

QUALITY = 90
"""JPEG quality of the pictures."""

Floats = NDArray[np.float64]


def mountain_files(count: int, side: int) -> Iterator[bytes]:
    """Yields pictures of snowy mountains as JPEG files; the first one is always the same.

    Args:
        count: How many.
        side: Height and width, px.
    """
    for number in range(count):
        file = io.BytesIO()
        Image.fromarray(mountain(side, SEED + number)).save(file, "JPEG", quality=QUALITY)
        yield file.getvalue()


def mountain(side: int, seed: int = SEED) -> Pixels:
    """Draws a snowy mountain under a blue sky, with a wood below it.

    Args:
        side: Height and width, px.
        seed: Another seed gives another mountain; the same one always gives the same.

    Returns:
        uint8 [side, side, 3].
    """
    rng = np.random.default_rng(seed)
    across = np.linspace(-1, 1, side)
    rows = np.linspace(0, 1, side)[:, None]
    painted = _sky(rng, rows, side)
    far = 0.52 - 0.1 * _profile(rng, side)
    painted = _laid(painted, rows > far, np.array([150.0, 170.0, 196.0]))
    summit = rng.uniform(-0.3, 0.3)
    near = 0.2 + 0.5 * np.abs(across - summit) ** 0.85 - 0.07 * _profile(rng, side)
    painted = _laid(painted, rows > near, _slope(rng, rows - near, side))
    wood = 0.86 - 0.05 * _profile(rng, side) - 0.05 * np.abs(_profile(rng, side, roughness=1.0))
    painted = _laid(painted, rows > wood, 30 + 14 * _noise(rng, side, 0.6)[..., None] * [1, 1.2, 1])
    return painted.clip(0, 255).astype(np.uint8)


def _laid(under: Floats, mask: NDArray[np.bool_], over: Floats) -> Floats:
    """Lays one surface over another where the mask says so."""
    return np.where(mask[..., None], over, under)


def _sky(rng: np.random.Generator, rows: Floats, side: int) -> Floats:
    """Paints a sky that is paler towards the horizon, with thin clouds."""
    zenith, horizon = np.array([58.0, 112.0, 190.0]), np.array([178.0, 208.0, 236.0])
    sky = zenith + (rows**0.8)[..., None] * (horizon - zenith)
    clouds = (_noise(rng, side, 1.7) - 0.6).clip(0, 1)[..., None] * 0.6
    return np.asarray(sky + clouds * (250 - sky))


def _slope(rng: np.random.Generator, below: Floats, side: int) -> Floats:
    """Paints a face of snow and, further below the ridge, more and more rock, lit from one side."""
    folds = _noise(rng, side, 1.25)
    light = np.gradient(folds, axis=1) - 0.6 * np.gradient(folds, axis=0)
    light = light / light.std()
    snow = np.array([226.0, 232.0, 244.0]) + 15 * light[..., None] * [1.3, 1.1, 0.8]
    rock = np.array([92.0, 92.0, 104.0]) + 18 * light[..., None]
    bare = 1 / (1 + np.exp(-8 * (below * 1.9 + 0.3 * _noise(rng, side, 1.1) - 0.75)))
    return np.asarray(snow + bare[..., None] * (rock - snow))


def _profile(rng: np.random.Generator, side: int, roughness: float = 1.3) -> Floats:
    """Makes a ridge line: noise of the amplitude frequency ** -roughness, deviation 1."""
    frequency = np.fft.rfftfreq(side)
    frequency[0] = np.inf
    parts = rng.standard_normal((2, frequency.size))
    line = np.fft.irfft((parts[0] + 1j * parts[1]) * frequency**-roughness, side)
    return np.asarray(line / line.std())


def _noise(rng: np.random.Generator, side: int, roughness: float) -> Floats:
    """Makes a surface of noise of the amplitude frequency ** -roughness, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    parts = rng.standard_normal((2, *frequency.shape))
    surface = np.fft.irfft2((parts[0] + 1j * parts[1]) * frequency**-roughness, (side, side))
    return np.asarray(surface / surface.std())
