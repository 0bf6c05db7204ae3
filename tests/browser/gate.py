"""A classifier that a test can hold back, or let refuse."""

from pathlib import Path
from threading import Semaphore
from typing import Any

from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.image import DEFAULT_LIMITS, ImageLimits
from sightbox.pictures import Picture
from sightbox.prediction import Prediction

PATIENCE_S = 20
"""Seconds after which a picture goes on by itself, so that a failed test ends."""

MANY = 100
"""More pictures than any test holds."""


class GatedClassifier(Classifier):
    """The dummy backend behind a gate, which is open at first.

    It takes TIFF too, which no Chromium shows.
    """

    def __init__(self, home: Path) -> None:
        self._turns: Semaphore | None = None
        self._refusal: Exception | None = None
        limits = ImageLimits(formats=(*DEFAULT_LIMITS.formats, "TIFF"))
        super().__init__(backend=DummyBackend(self._wait), home=home, max_batch=1, limits=limits)

    def classify(self, picture: Picture, **options: Any) -> Prediction:  # noqa: ANN401
        """Answers, or raises what `refuse` was given."""
        if self._refusal is not None:
            raise self._refusal
        return super().classify(picture, **options)

    def refuse(self, error: Exception | None) -> None:
        """Raises `error` for each picture from now on; None answers them again."""
        self._refusal = error

    def hold(self) -> None:
        """Holds each picture in the engine from now on."""
        self._turns = Semaphore(0)

    def let_one_go(self) -> None:
        """Lets one picture go on that is held."""
        assert self._turns is not None
        self._turns.release()

    def let_go(self) -> None:
        """Answers all pictures again, those that are held included."""
        held, self._turns, self._refusal = self._turns, None, None
        if held is not None:
            held.release(MANY)

    def _wait(self, _images: Pixels) -> None:
        if self._turns is not None:
            self._turns.acquire(timeout=PATIENCE_S)
