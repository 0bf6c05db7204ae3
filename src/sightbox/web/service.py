"""What the routes work with: the classifier, the models, the settings."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from sightbox.classifier import Classifier
from sightbox.settings import Settings
from sightbox.store import Store

_KEY = "sightbox"

READY_SECONDS = 1.0
"""How long one proof that the engine answers is good for: probes need no token, but cost a run."""


class Readiness:
    """Proves that the engine answers, at most once in `READY_SECONDS`. A failure is not kept.

    Args:
        clock: Tells the time in seconds; it never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._good_until = -float("inf")

    def check(self, classifier: Classifier) -> None:
        """Sends a drawn picture through the engine, unless one has just passed.

        Raises:
            BackendError: The engine failed.
        """
        with self._lock:
            if self._clock() >= self._good_until:
                classifier.check()
                self._good_until = self._clock() + READY_SECONDS


@dataclass(frozen=True)
class Service:
    """The parts behind an application.

    Attributes:
        classifier: What answers.
        settings: The settings of the server.
        store: The models that are here.
        readiness: Whether the engine answers.
        draining: Set when the server stops and only finishes what it has accepted.
    """

    classifier: Classifier
    settings: Settings
    store: Store
    readiness: Readiness = field(default_factory=Readiness)
    draining: threading.Event = field(default_factory=threading.Event)


def current_service() -> Service:
    """Returns the service of the application that handles this request."""
    service: Service = current_app.extensions[_KEY]
    return service
