"""Drawn pictures, which calibrate a network where there are no photos."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


def calibration_pictures(count: int, size: int, seed: int = 0) -> Iterator[Pixels]:
    """Draws pictures whose edges, textures and colours excite a network about as photos do.

    Each is noise whose amplitude falls with its frequency, as in photos (Field 1987, "Relations
    between the statistics of natural images and the response properties of cortical cells"), with
    up to eight ellipses and boxes of other noise, colours, slopes and stripes blended over it.

    Args:
        count: How many.
        size: Height and width, px.
        seed: Another seed gives other pictures; the same one always gives the same.

    Yields:
        uint8 [size, size, 3].
    """
    for number in range(count):
        yield _Painter(np.random.default_rng([seed, number]), size).picture()


class _Painter:
    """Draws one picture. Its ranges were found by experiment; values are levels, 0 to 255."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng, self._size = rng, size
        grid = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        self._rows, self._columns = grid.astype(np.float32)
        self._noises = [self._noise(0.5, 1), self._noise(1.1, 2)]

    def picture(self) -> Pixels:
        """Returns the picture."""
        painted = self._surface()
        for _ in range(self._rng.integers(9)):
            painted += self._shape()[..., None] * (self._surface() - painted)
        return painted.clip(0, 255).astype(np.uint8)

    def _noise(self, flattest: float, steepest: float) -> Floats:
        """Makes noise of the amplitude frequency ** -exponent, with mean 0 and deviation 1."""
        size = self._size
        frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
        frequency[0, 0] = np.inf
        falloff = (frequency ** -self._rng.uniform(flattest, steepest)).astype(np.float32)
        parts = self._rng.standard_normal((2, 3, *frequency.shape), np.float32)
        noise = np.fft.irfft2((parts[0] + np.complex64(1j) * parts[1]) * falloff, (size, size))
        return np.moveaxis(noise / noise.std(axis=(1, 2), keepdims=True), 0, -1)

    def _surface(self) -> Floats:
        """Paints everything: a colour, noise in related colours, a slope, sometimes stripes."""
        rng = self._rng
        colour = rng.uniform(0, 255, 3)
        colour = colour.mean() + rng.uniform() * (colour - colour.mean())
        mixture = rng.uniform(0, 0.5) * rng.standard_normal((3, 3)) + 3**-0.5
        mixture *= rng.uniform(0, 60) / np.linalg.norm(mixture, axis=0)
        slope = rng.uniform(0, 60) * rng.uniform(0.3, 1, 3)
        place = rng.integers(0, self._size, 2)
        noise = np.roll(self._noises[rng.integers(2)], place, axis=(0, 1))
        along, _ = self._turned(0, 0)
        painted: Floats = noise @ mixture.astype(np.float32) + colour.astype(np.float32)
        painted += along[..., None] * slope.astype(np.float32)
        if rng.random() < 0.4:
            stripes = np.sin(along * self._number(5, 90))
            hard = np.sign(stripes) if rng.random() < 0.5 else stripes
            painted += self._number(5, 50) * hard[..., None]
        return painted

    def _shape(self) -> Floats:
        """Makes the mask of an ellipse or a box with a hard or a soft edge, 0 to 1."""
        along, across = self._turned(*self._rng.uniform(-0.9, 0.9, 2))
        along, across = along / self._number(0.08, 0.8), across / self._number(0.08, 0.8)
        if self._rng.random() < 0.6:
            reach = np.hypot(along, across)
        else:
            reach = np.maximum(np.abs(along), np.abs(across))
        inside = (1 - reach) / self._number(0.01, 0.2) + np.float32(0.5)
        return inside.clip(0, 1) * self._number(0.5, 1)

    def _turned(self, column: float, row: float) -> tuple[Floats, Floats]:
        """Returns coordinates around a point, turned by a random angle."""
        angle = self._rng.uniform(0, 2 * np.pi)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y = self._columns - np.float32(column), self._rows - np.float32(row)
        return x * cosine + y * sine, y * cosine - x * sine

    def _number(self, low: float, high: float) -> np.float32:
        return np.float32(self._rng.uniform(low, high))


def ramp(side: int, channels: int) -> NDArray[np.uint8]:
    """Draws a ramp from black to white, uint8 [side, side, channels]."""
    row = np.linspace(0, 255, side).astype(np.uint8)
    return np.stack([np.tile(row, (side, 1))] * channels, axis=-1)
