"""What a classifier decodes with; several may share one, and its budget."""

import os
import threading
from dataclasses import replace
from time import perf_counter
from types import TracebackType
from typing import Self

from sightbox.decoding.budget import DecodeBudget
from sightbox.decoding.frames import Job
from sightbox.decoding.pool import ProcessPool
from sightbox.decoding.process import DEFAULT_PROCESS_LIMITS, ProcessLimits
from sightbox.errors import ClosedError, DecoderNotAvailableError, RequestError
from sightbox.image import ImageLimits
from sightbox.machine import usable_cores
from sightbox.patience import Abandoned, Patience, never
from sightbox.pictures import Picture, PreparedPicture, encoded, prepare_picture
from sightbox.preprocessing import Preprocessing, Recipe

LEAST_MEGAPIXELS = 100.0
"""The decode budget of a small machine, in megapixels: two of the largest pictures by default."""

MEGAPIXELS_PER_CORE = 16.0
"""What the budget grows by with the cores: each can decode the photo of a telephone."""

ISOLATIONS = ("thread", "process")
"""Where pictures are decoded."""


class Decoder:
    """Makes pictures into pixels, within a budget. Thread-safe; may be shared by classifiers.

    Each classifier opens it, with ``with`` or as a classifier does it by itself; processes run as
    long as somebody has it open.

    Args:
        isolation: ``thread`` decodes in this process; ``process`` in others, one more than there
            are usable cores, which can be killed and cannot harm this one.
        megapixels: Most megapixels that are decoded at the same time; a larger picture is decoded
            alone. When not given, `default_megapixels`.
        limits: What decoding one picture may take in a process.

    Raises:
        RequestError: A number is out of range, or the isolation unknown.
        DecoderNotAvailableError: This system has no processes of this kind.

    Example:
        >>> decoder = Decoder(megapixels=200)
        >>> cats = Classifier("cats", decoding=decoder)
        >>> dogs = Classifier("dogs", decoding=decoder)
    """

    def __init__(
        self,
        isolation: str = ISOLATIONS[0],
        *,
        megapixels: float | None = None,
        limits: ProcessLimits = DEFAULT_PROCESS_LIMITS,
    ) -> None:
        if isolation not in ISOLATIONS:
            raise RequestError(
                f"There is no isolation {isolation!r}.", f"There are {', '.join(ISOLATIONS)}."
            )
        if isolation == "process" and os.name != "posix":
            raise DecoderNotAvailableError(
                "Decoder processes need Linux or macOS.", "Use the setting isolation=thread."
            )
        budget = default_megapixels() if megapixels is None else megapixels
        self.isolation = isolation
        # One more than cores: while one hands its picture on, another uses its core.
        self.budget = DecodeBudget(usable_cores() + 1, budget)
        self._limits = limits
        self._lock = threading.Lock()
        self._users = 0
        self._pool: ProcessPool | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the decoder processes, sorted; none where threads decode."""
        pool = self._pool
        return () if pool is None else pool.pids

    def prepare(
        self,
        picture: Picture,
        recipe: Recipe,
        limits: ImageLimits,
        preprocessing: Preprocessing = "exact",
        *,
        timeout: float | None = None,
        abandoned: Abandoned = never,
    ) -> PreparedPicture:
        """Decodes one picture in its turn, and makes it into what a model reads.

        Args:
            picture: See `sightbox.pictures.prepare_picture`.
            recipe: Likewise.
            limits: Likewise.
            preprocessing: Likewise.
            timeout: Seconds that it may wait for its turn; without end when None.
            abandoned: Tells whether nobody wants the answer any more: then it is not decoded.

        Raises:
            ImageError: The picture cannot be read.
            RequestError: The picture is of a wrong type.
            DeadlineError: The time was over before its turn came, or it is abandoned.
            DecoderNotAvailableError: No process can be started.
            ClosedError: Nobody has the decoder open, and its processes have ended.
        """
        asked = perf_counter()
        with self.budget.turn(Patience.lasting(timeout, abandoned)) as permit:
            waited = perf_counter() - asked
            file = encoded(picture) if self.isolation == "process" else None
            if file is None:
                prepared = prepare_picture(picture, recipe, limits, preprocessing, permit)
            else:
                prepared = self._processes().prepare(
                    file, Job(recipe, limits, preprocessing), permit
                )
        return replace(prepared, waited=waited + prepared.waited)

    def __enter__(self) -> Self:
        with self._lock:
            if self.isolation == "process" and self._pool is None:
                self._pool = ProcessPool(self.budget.pictures, self._limits)
            self._users += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users -= 1
            pool = self._pool
            if self._users or pool is None:
                return
            self._pool = None
        pool.close()

    def _processes(self) -> ProcessPool:
        pool = self._pool
        if pool is None:
            raise ClosedError("The decoder is closed.")
        return pool


def default_megapixels() -> float:
    """Returns the decode budget that suits this machine, in megapixels."""
    return max(LEAST_MEGAPIXELS, MEGAPIXELS_PER_CORE * usable_cores())
