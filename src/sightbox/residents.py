"""The models that are loaded, side by side: on first use, and no more than fit in the memory.

A model stays as long as somebody uses it. When another needs the room, those that nobody uses are
dropped, the least recently used one first. A dropped one gives its memory back at once.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from sightbox.batching import Load
from sightbox.classifier import Classifier
from sightbox.decoding.decoder import Decoder
from sightbox.errors import (
    BackendError,
    ClosedError,
    ModelNotFoundError,
    ModelsBusyError,
    ModelTooLargeError,
)
from sightbox.labels import Labels
from sightbox.model import Card, Model, graph_file
from sightbox.opening import open_classifier, plan_for
from sightbox.plan import Plan
from sightbox.settings import Settings
from sightbox.store import Store

BYTES_PER_MB = 1_000_000

MEASURED_SECONDS = 60.0
"""How long a model counts as large as it was measured last. Until then one that proved too large is
refused without being loaded once more; after it a measurement that was off has no more effect."""

Loader = Callable[[Settings, str, Plan, Decoder], Classifier]
"""Makes the classifier of a model, by its name, for a plan; with what decodes its pictures."""

_Key = tuple[str, str]


@dataclass(frozen=True)
class Loaded:
    """What is told of a model that is loaded.

    Attributes:
        name: Name of the model.
        variant: The variant of it.
        backend: What runs it.
        memory: Bytes that it takes; see `Classifier.memory`.
        users: How many use it at this moment.
        load: How many pictures wait for it, and how large the batches were.
    """

    name: str
    variant: str
    backend: str
    memory: int
    users: int
    load: Load


@dataclass(eq=False)
class _Resident:
    """A model that is loaded or being loaded; what changes is guarded by the lock of all.

    Attributes:
        planned: Whether it answers when no variant is named.
        dropped: Whether it no longer is among the loaded ones; its last user closes it.
    """

    key: _Key
    memory: int
    planned: bool
    users: int = 0
    dropped: bool = False
    future: Future[Classifier] = field(default_factory=Future)

    @property
    def classifier(self) -> Classifier | None:
        """What was loaded; None while it is not, and when it failed."""
        done = self.future.done() and self.future.exception() is None
        return self.future.result() if done else None


class Residents:
    """The models that are loaded. Thread-safe; a context manager.

    Args:
        default: What answers when no model is named. It is never dropped, and its owner closes it.
        settings: How models are run, where they are, and `max_models_mb`.
        load: Makes a classifier.
        clock: Tells the time in seconds; it never goes back.

    Example:
        >>> with Classifier() as default, Residents(default, Settings()) as residents:
        ...     with residents.using("resnet18") as classifier:
        ...         print(classifier.classify("cat.jpg").top.label["en"])
        tabby
    """

    def __init__(
        self,
        default: Classifier,
        settings: Settings,
        load: Loader = open_classifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = Store(settings.home)
        self._settings = settings
        self._load, self._clock = load, clock
        self._limit = int(settings.max_models_mb * BYTES_PER_MB)
        self._lock = threading.Lock()
        self._closed = False
        self._measured: dict[_Key, tuple[int, float]] = {}
        key = (default.card.name, default.info.variant)
        self._default = _Resident(key, default.memory, planned=True)
        self._default.future.set_result(default)
        # The most recently used one is the last.
        self._residents = OrderedDict({key: self._default})

    @property
    def loaded(self) -> list[Loaded]:
        """The models that are loaded, the default one first, then by name and variant."""
        with self._lock:
            here = [one for one in self._residents.values() if one.classifier is not None]
            here.sort(key=lambda one: (one is not self._default, one.key))
            return [
                Loaded(*one.key, made.info.backend, one.memory, one.users, made.load)
                for one in here
                if (made := one.classifier) is not None
            ]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models that are here, loaded or not, sorted.

        Raises:
            ModelError: The home cannot be read.
        """
        return tuple(sorted({*self.store.names(), *(one.name for one in self.loaded)}))

    @contextmanager
    def using(self, name: str | None = None, variant: str | None = None) -> Iterator[Classifier]:
        """Gives the classifier of a model for as long as the block runs; it is loaded if need be.

        One thread loads; those that want the same model wait for it, and share its failure. The
        next one tries again.

        Args:
            name: Name of the model; the default one when None.
            variant: Variant of the model; as planned when None.

        Raises:
            ModelNotFoundError: The model is not here, or not in this variant.
            ModelError: The model is damaged.
            BackendError: The backend is not available or refuses the model.
            ModelTooLargeError: The model would not fit beside the default one.
            ModelsBusyError: There is no room while others are in use.
            ClosedError: No more models are loaded.
        """
        resident = self._enter(self._default.key[0] if name is None else name, variant)
        try:
            yield resident.future.result()
        finally:
            self._leave(resident)

    def model(self, name: str) -> Model:
        """Returns a model that is here, for its files; it is not loaded for that.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: The model is damaged.
        """
        with self._lock:
            for one in self._residents.values():
                if one.key[0] == name and one.classifier is not None:
                    return one.classifier.model
        return self._model(name)

    def card(self, name: str) -> Card:
        """Returns the card of a model that is here; it is not loaded for that.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: The model is damaged.
        """
        return self.model(name).card

    def labels(self, name: str) -> Labels:
        """Returns the names of the classes of a model that is here; it is not loaded for that.

        Raises:
            ModelNotFoundError: The model is not here.
            ModelError: The model is damaged.
            LabelError: Its labels are damaged.
        """
        return self.card(name).load_labels(self.store.home / "labels")

    def check(self, name: str) -> None:
        """Checks that a model answers, or would be loaded, as far as is known without loading it.

        Raises:
            ModelNotFoundError: The model is not here, or not in the planned variant.
            ModelError: The model is damaged.
            ModelTooLargeError: The model would not fit beside the default one.
            BackendError: The model is loaded and its engine is out of order.
        """
        with self._lock:
            resident = self._find(name, None)
        if resident is None:
            newcomer, _ = self._newcomer(name, None)
            self._check_size(newcomer)
        elif resident.classifier is not None and not resident.classifier.ready:
            raise BackendError("The engine is out of order.", "It is restarting.")

    def close(self) -> None:
        """Drops all but the default one; may be called twice.

        One that is in use is closed by its last user.
        """
        with self._lock:
            self._closed = True
            dropped = [one for one in self._residents.values() if one is not self._default]
            unused = [one for one in dropped if not one.users]
            self._drop(dropped)
        _close(unused)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self, name: str, variant: str | None) -> _Resident:
        """Returns a model with one user more; it is loaded, or being loaded by another thread."""
        with self._lock:
            if (found := self._find(name, variant)) is not None:
                return self._used(found)
        # What needs the disk is done without the lock.
        newcomer, plan = self._newcomer(name, variant)
        with self._lock:
            if self._closed:
                raise ClosedError("No more models are loaded.")
            if (found := self._residents.get(newcomer.key)) is not None:
                found.planned |= newcomer.planned
                return self._used(found)
            unused = self._make_room(newcomer)
            self._residents[newcomer.key] = self._used(newcomer)
        _close(unused)
        self._fill(newcomer, plan)
        return newcomer

    def _leave(self, resident: _Resident) -> None:
        with self._lock:
            resident.users -= 1
            if not resident.dropped:
                self._residents.move_to_end(resident.key)
            last = resident.dropped and not resident.users
        if last:
            _close([resident])

    def _find(self, name: str, variant: str | None) -> _Resident | None:
        if variant is not None:
            return self._residents.get((name, variant))
        mine = (one for one in self._residents.values() if one.key[0] == name and one.planned)
        return next(mine, None)

    def _used(self, resident: _Resident) -> _Resident:
        resident.users += 1
        return resident

    def _newcomer(self, name: str, variant: str | None) -> tuple[_Resident, Plan]:
        """Returns what a model would be if it were loaded: its size is what is known of it."""
        model = self._model(name)
        plan = plan_for(self._settings, model, variant)
        file = graph_file(plan.variant)
        if file not in model.card.files:
            raise ModelNotFoundError(
                f"The model {name} has no variant {plan.variant!r:.40} here.",
                f"It has {', '.join(model.card.variants)}. "
                f"Make others: sightbox models optimize {name}.",
            )
        key = (name, plan.variant)
        memory, until = self._measured.get(key, (0, 0.0))
        known = memory if self._clock() < until else 0
        return _Resident(key, max(known, model.size(file)), planned=variant is None), plan

    def _model(self, name: str) -> Model:
        here = self.names
        if name not in here:
            raise ModelNotFoundError(
                f"There is no model {name!r:.80}.", f"Here are: {', '.join(here)}."
            )
        if (model := self.store.find(name)) is None:
            variants = ", ".join(one.variant for one in self.loaded if one.name == name)
            raise ModelNotFoundError(
                f"The model {name} is not on the disk.",
                f"It answers in {variants} as long as that is loaded." if variants else "",
            )
        return model

    def _fill(self, resident: _Resident, plan: Plan) -> None:
        """Loads a model, for all who wait for it; room for what is known of its size is made."""
        try:
            resident.future.set_result(self._loaded(resident, plan))
        except BaseException as error:
            with self._lock:
                self._drop([resident])
            # Those who wait must hear of it, whatever it was.
            resident.future.set_exception(
                error if isinstance(error, Exception) else BackendError("Loading was interrupted.")
            )
            raise

    def _loaded(self, resident: _Resident, plan: Plan) -> Classifier:
        default = self._default.future.result()
        # The cores are the same for all models: so are the permits to decode.
        classifier = self._load(self._settings, resident.key[0], plan, default.decoder)
        try:
            classifier.warm_up()
            with self._lock:
                resident.memory = classifier.memory
                self._measured[resident.key] = (
                    classifier.memory,
                    self._clock() + MEASURED_SECONDS,
                )
                unused = self._make_room(resident)
        except BaseException:
            # Whatever it was: nobody else knows of this classifier, so nobody else would close it.
            classifier.close()
            raise
        _close(unused)
        return classifier

    def _make_room(self, newcomer: _Resident) -> list[_Resident]:
        """Drops those that nobody uses until a newcomer fits, and returns them, to be closed."""
        self._check_size(newcomer)
        others = [one for one in self._residents.values() if one is not newcomer]
        excess = newcomer.memory + sum(one.memory for one in others) - self._limit
        unused = []
        for one in others:
            if excess > 0 and not one.users and one is not self._default:
                unused.append(one)
                excess -= one.memory
        if excess > 0:
            raise ModelsBusyError(
                f"There is no room for the model {newcomer.key[0]}: others that fill the "
                f"{self._settings.max_models_mb:g} MB are in use.",
                "Try again soon, or raise the setting max_models_mb.",
            )
        self._drop(unused)
        return unused

    def _check_size(self, newcomer: _Resident) -> None:
        wanted = self._default.memory + newcomer.memory
        if wanted > self._limit:
            raise ModelTooLargeError(
                f"The model {newcomer.key[0]} and the default one take {wanted / BYTES_PER_MB:.0f} "
                f"MB, and models may take {self._settings.max_models_mb:g} MB.",
                "Raise the setting max_models_mb, or serve a smaller model.",
            )

    def _drop(self, residents: list[_Resident]) -> None:
        for one in residents:
            one.dropped = True
            self._residents.pop(one.key, None)


def _close(residents: list[_Resident]) -> None:
    for one in residents:
        if one.classifier is not None:
            one.classifier.close()
