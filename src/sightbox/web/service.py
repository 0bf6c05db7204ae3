"""What the routes work with: the classifier, the models, the settings."""

import threading
from dataclasses import dataclass, field

from flask import current_app

from sightbox.classifier import Classifier
from sightbox.settings import Settings
from sightbox.store import Store

_KEY = "sightbox"


@dataclass(frozen=True)
class Service:
    """The parts behind an application.

    Attributes:
        classifier: What answers.
        settings: The settings of the server.
        store: The models that are here.
        draining: Set when the server stops and only finishes what it has accepted.
    """

    classifier: Classifier
    settings: Settings
    store: Store
    draining: threading.Event = field(default_factory=threading.Event)


def current_service() -> Service:
    """Returns the service of the application that handles this request."""
    service: Service = current_app.extensions[_KEY]
    return service
