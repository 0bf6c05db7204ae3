"""Sightbox says what a picture shows, offline.

The public names load on first use, so that ``import sightbox`` stays light: it loads no runtime,
starts no thread and touches no file.

Example:
    >>> import sightbox
    >>> sightbox.Classifier().classify("cat.jpg").top.label["en"]
    'tabby'
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightbox.classifier import Classifier as Classifier
    from sightbox.errors import SightboxError as SightboxError
    from sightbox.prediction import Prediction as Prediction
    from sightbox.settings import Settings as Settings

__version__ = "0.1.0"

_HOMES = {
    "Classifier": "sightbox.classifier",
    "Prediction": "sightbox.prediction",
    "Settings": "sightbox.settings",
    "SightboxError": "sightbox.errors",
}

__all__ = ["Classifier", "Prediction", "Settings", "SightboxError", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
