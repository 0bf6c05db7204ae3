"""``sightbox classify --explain``: a picture with the evidence for its first class over it."""

import io
from pathlib import Path

from sightbox.atomicfile import write_atomically
from sightbox.classifier import Classifier
from sightbox.errors import RequestError
from sightbox.explanation import overlay
from sightbox.pictures import Picture, read_picture
from sightbox.prediction import Prediction


def save_overlay(
    path: Path, picture: Picture, prediction: Prediction, classifier: Classifier
) -> None:
    """Writes the overlay, whole or not at all.

    Raises:
        RequestError: No class is named, so that there is nothing to explain; or the file cannot be
            written.
    """
    explanation = prediction.explanation
    if explanation is None or not explanation.maps:
        raise RequestError("No class reached the least score: there is nothing to explain.")
    image = read_picture(picture, classifier.limits)
    shown = io.BytesIO()
    overlay(image.pixels, explanation.maps[0], explanation.region).save(shown, "PNG")
    try:
        write_atomically(path, shown.getvalue())
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.") from error
