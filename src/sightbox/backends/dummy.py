"""A backend without weights, for tests, demonstrations and development.

Its answer depends on the pixels alone, so that each caller can check that it got its own answer.
"""

from collections.abc import Callable, Sequence

import numpy as np

from sightbox.backends import Arrays, Pixels
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.model import EXACT, Model


def expected_class(images: Pixels, classes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Returns the class that the dummy backend names first for each picture, int64 [N].

    It is the sum of all pixel values, modulo the number of classes.
    """
    total: np.ndarray[tuple[int], np.dtype[np.int64]] = images.sum(axis=(1, 2, 3), dtype=np.int64)
    return total % classes


class DummyBackend:
    """Names the class that `expected_class` computes, with the logit 10 against 0.

    Args:
        before_run: Called with each batch before it is answered. It may wait, to be slow, or
            raise, to fail.
    """

    name = "dummy"
    variant = "fp32"

    def __init__(self, before_run: Callable[[Pixels], None] | None = None) -> None:
        self._before_run = before_run
        self._classes = 0

    def load(
        self,
        model: Model,
        threads: int,  # noqa: ARG002 - the protocol's signature
        variant: str = EXACT,
        streams: int = 1,  # noqa: ARG002 - likewise
    ) -> None:
        """Remembers the number of classes."""
        self.variant = variant
        self._classes = model.card.classes

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Answers a batch."""
        if not self._classes:
            raise BackendError("The backend is not loaded.")
        if self._before_run is not None:
            self._before_run(images)
        logits = np.zeros((len(images), self._classes), np.float32)
        logits[np.arange(len(images)), expected_class(images, self._classes)] = 10
        features = images.mean(axis=(1, 2), dtype=np.float32)
        arrays = {"logits": logits, "features": features, "maps": features[:, :, None, None]}
        return {name: arrays[name] for name in outputs}

    def close(self) -> None:
        """Forgets the model."""
        self._classes = 0


def create(device: str | None = None) -> DummyBackend:
    """Returns the backend; it is everywhere.

    Raises:
        BackendNotAvailableError: A device is asked for.
    """
    if device is not None:
        raise BackendNotAvailableError(f"The dummy backend has no device {device!r}.")
    return DummyBackend()
