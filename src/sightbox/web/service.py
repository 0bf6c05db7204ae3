"""What the routes work with: the classifier, the models, the settings."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from flask import current_app, request

from sightbox.benchmark.runner import Runner
from sightbox.classifier import Classifier
from sightbox.errors import BackendError, ClosedError, SightboxError
from sightbox.patience import Patience
from sightbox.residents import Residents
from sightbox.settings import Settings
from sightbox.store import Store
from sightbox.walkthrough import Walker

_KEY = "sightbox"

PATIENCE = "sightbox.patience"
"""The key in the WSGI environment of how long the request may wait, from its arrival on, and of
what tells whether its client has gone away."""

READY_SECONDS = 1.0
"""How long one proof that the engine answers is good for: probes need no token, but cost a run."""


class NotReadyError(SightboxError):
    """The engine did not answer the test picture."""

    code = "not_ready"
    title = "The server is not ready"
    status = 503


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
        residents: The models that are here, and which of them are loaded.
        readiness: Whether the engine answers.
        benchmarks: Runs the benchmark for the page that shows it.
        walker: Shows the tensors inside a network, to one person at a time.
        draining: Set when the server stops and only finishes what it has accepted.
    """

    classifier: Classifier
    settings: Settings
    residents: Residents
    readiness: Readiness = field(default_factory=Readiness)
    walker: Walker = field(default_factory=Walker)
    draining: threading.Event = field(default_factory=threading.Event)
    benchmarks: Runner = field(init=False)

    def __post_init__(self) -> None:
        runner = Runner(Store(self.settings.home).home, self.classifier.card.name)
        object.__setattr__(self, "benchmarks", runner)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models that are here, loaded or not, sorted."""
        return self.residents.names

    def using(
        self, name: str | None, variant: str | None = None
    ) -> AbstractContextManager[Classifier]:
        """Gives the classifier of a model for as long as the block runs: `Residents.using`."""
        return self.residents.using(name, variant)

    def check_ready(self) -> None:
        """Proves that the server answers pictures.

        Raises:
            ClosedError: The server is stopping.
            NotReadyError: The engine fails.
        """
        if self.draining.is_set():
            raise ClosedError("The server is stopping.")
        try:
            self.readiness.check(self.classifier)
        except BackendError as error:
            raise NotReadyError(f"The engine does not answer: {error.detail}") from error


def current_service() -> Service:
    """Returns the service of the application that handles this request."""
    service: Service = current_app.extensions[_KEY]
    return service


def current_patience() -> Patience:
    """Returns how long this request may wait: what is left of `max_wait` since it arrived."""
    given: Patience | None = request.environ.get(PATIENCE)
    # Only our own server tells when a request arrived, and whether its client is still there.
    return given or Patience.lasting(current_service().settings.max_wait)
