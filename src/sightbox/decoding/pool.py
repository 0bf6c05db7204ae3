"""The decoder processes of a `Decoder`: always as many as there are places in its budget."""

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from time import perf_counter

from sightbox.decoding.budget import Permit
from sightbox.decoding.frames import Job
from sightbox.decoding.process import DecoderProcess, ProcessLimits
from sightbox.errors import ClosedError, DecoderNotAvailableError, ImageError
from sightbox.pictures import PreparedPicture

logger = logging.getLogger(__name__)


class ProcessPool:
    """Decoder processes that live long and are replaced when one is lost. Thread-safe.

    Args:
        size: Number of processes, which is how many threads may call `prepare` at the same time.
        limits: What a picture may take.

    Raises:
        DecoderNotAvailableError: They cannot be started.
    """

    def __init__(self, size: int, limits: ProcessLimits) -> None:
        self._size = size
        self._limits = limits
        self._lock = threading.Lock()
        self._closed = False
        self._busy: set[DecoderProcess] = set()
        # None stands for one that could not be started again yet.
        self._idle: list[DecoderProcess | None] = [None] * size
        try:
            for number in range(size):
                self._idle[number] = DecoderProcess(limits)
        except BaseException:
            # Also by Ctrl-C: those that run would outlive the pool that nobody got.
            self.close()
            raise

    def prepare(self, file: bytes | bytearray, job: Job, permit: Permit) -> PreparedPicture:
        """Has one picture decoded; see `DecoderProcess.prepare`.

        Raises:
            ImageError: The picture cannot be read, or exceeds a limit.
            DecoderNotAvailableError: No process can be started.
            DeadlineError: The permit was not given.
            ClosedError: The pool is closed.
        """
        asked = perf_counter()
        process = self._started()
        waited = perf_counter() - asked
        try:
            prepared = process.prepare(file, job, permit)
        except ImageError:
            if self._closed and not process.idle:
                raise ClosedError("The classifier is closed.") from None
            raise
        finally:
            self._put_back(process)
        return replace(prepared, waited=waited + prepared.waited)

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes, sorted."""
        with self._lock:
            return tuple(sorted(p.pid for p in {*self._idle, *self._busy} if p is not None))

    def close(self) -> None:
        """Ends all processes, also those that decode; may be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for process in idle:
            if process is not None:
                process.close()
        for process in busy:
            # The thread that uses it closes it.
            process.kill()

    def _started(self) -> DecoderProcess:
        for _ in range(self._size):
            # One that ended before it saw a picture costs none: a fresh one has taken its place.
            with suppress(DecoderNotAvailableError):
                return self._awaited()
        return self._awaited()

    def _awaited(self) -> DecoderProcess:
        process = self._take()
        try:
            process.await_start()
        except BaseException:
            # Whatever it was, its place must not be lost.
            self._put_back(process)
            raise
        return process

    def _take(self) -> DecoderProcess:
        with self._lock:
            if self._closed:
                raise ClosedError("The classifier is closed.")
            process = self._idle.pop()
            if process is not None:
                self._busy.add(process)
                return process
        try:
            process = DecoderProcess(self._limits)
        except BaseException:
            # Likewise.
            self._put_down(None)
            raise
        with self._lock:
            self._busy.add(process)
        return process

    def _put_back(self, process: DecoderProcess) -> None:
        with self._lock:
            self._busy.discard(process)
        if process.idle:
            self._put_down(process)
            return
        fresh = None
        try:
            process.close()
            if not self._closed:
                fresh = self._fresh()
        finally:
            self._put_down(fresh)

    def _fresh(self) -> DecoderProcess | None:
        try:
            return DecoderProcess(self._limits)
        except DecoderNotAvailableError as error:
            # The next picture tries again, and is told.
            logger.warning("A decoder process is lost: %s", error)
            return None

    def _put_down(self, process: DecoderProcess | None) -> None:
        with self._lock:
            if not self._closed:
                # The one used last is used next, its memory being warm; one that is missing, last.
                self._idle.insert(0 if process is None else len(self._idle), process)
                return
        if process is not None:
            process.close()
