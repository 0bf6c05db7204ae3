"""The pictures of one request: how many there may be, and their pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightbox.classifier import Classifier
from sightbox.errors import RequestError, SightboxError
from sightbox.patience import ENDLESS, Patience
from sightbox.settings import Settings
from sightbox.web.forms import TooManyPartsError


def most_pictures(settings: Settings) -> int:
    """Returns the most pictures of a request: they enter the queue together."""
    return min(settings.max_parts, settings.queue_size)


def check_count(count: int, settings: Settings) -> None:
    """Checks the number of pictures.

    Raises:
        RequestError: There is none.
        TooManyPartsError: There are more than a request may have.
    """
    if count < 1:
        raise RequestError("The request has no picture.")
    most = most_pictures(settings)
    if count > most:
        raise TooManyPartsError(
            f"The request has more than {most} pictures.",
            "Send fewer at once, or raise the settings max_parts and queue_size.",
        )


def to_pixels(
    files: Sequence[bytes], classifier: Classifier, name: str, patience: Patience = ENDLESS
) -> NDArray[np.uint8]:
    """Returns the pixels of image files, uint8 [N, H, W, 3].

    Args:
        files: The files; at least one.
        classifier: What will read the pixels.
        name: How the request calls one of the files.
        patience: How long they may wait for their turns to be decoded.

    Raises:
        ImageError: One cannot be read; says which.
        DeadlineError: The time was over before the turn of one came, or nobody waits any more.
    """
    pixels = []
    for number, file in enumerate(files):
        try:
            prepared = classifier.prepare(
                file, timeout=patience.seconds, abandoned=patience.abandoned
            )
            pixels.append(prepared.pixels)
        except SightboxError as error:
            raise type(error)(f"{name} {number}: {error.detail}", error.hint) from error
    return np.stack(pixels)
