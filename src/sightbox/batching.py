"""The queue in front of the engine: bounded, without artificial delay, and never stuck.

A batch is all that waits, up to the limit, now. Each worker is a thread with buffers of its own. A
worker whose batch fails gives the failure to the calls of that batch and ends; a fresh one takes
its place, and takes calls only after it has answered a proof picture. Until then calls wait; when
the proof fails they are refused.
"""

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import (
    BackendError,
    ClosedError,
    DeadlineError,
    QueueFullError,
    RequestError,
    SightboxError,
)

FIRST_RETRY = 0.1
LONGEST_RETRY = 5.0
"""Seconds between the proofs of an engine that fails them: doubled each time, up to the longest."""

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Run = Callable[[Pixels], Logits]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What one call gets.

    Attributes:
        logits: float32 [C].
        waited: Seconds from the call to the start of its batch.
        ran: Seconds that its batch took.
        batch: Number of pictures in its batch.
    """

    logits: Logits
    waited: float
    ran: float
    batch: int


@dataclass(frozen=True)
class Load:
    """How busy a batcher is and was.

    Attributes:
        waiting: Number of calls that wait.
        capacity: Most calls that may wait.
        batches: Size of a batch -> how many of that size were answered.
    """

    waiting: int
    capacity: int
    batches: Mapping[int, int]


@dataclass(frozen=True)
class _Call:
    pixels: Pixels
    deadline: float | None
    abandoned: Callable[[], bool]
    future: Future[Answer] = field(default_factory=Future)
    asked: float = field(default_factory=time.perf_counter)


class Batcher:
    """Runs calls from many threads in batches.

    Args:
        run: Answers a batch: uint8 [N, H, W, 3] to float32 [N, C]. Called by one thread for each
            worker, at the same time.
        proof: A picture, uint8 [H, W, 3], that a fresh worker must answer with finite numbers
            before it takes calls.
        max_batch: Most pictures in a batch.
        capacity: Most calls that may wait.
        workers: Number of workers.

    Raises:
        BackendError: The engine does not answer the proof picture.
        RequestError: The capacity is below 1.
    """

    def __init__(
        self, run: Run, proof: Pixels, *, max_batch: int, capacity: int, workers: int = 1
    ) -> None:
        if capacity < 1:
            raise RequestError(f"queue_size is {capacity}; it must be at least 1.")
        self._run = run
        self._proof = proof[None]
        self._max_batch = max_batch
        self._capacity = capacity
        self._batches: Counter[int] = Counter()
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._process = os.getpid()
        self._closed = False
        self._proven = 0
        self._broken = False
        self._threads: set[threading.Thread] = set()
        self._prove()
        for _ in range(workers):
            self._start(self._work)
        self._proven = workers

    @property
    def is_forked(self) -> bool:
        """Whether this is a copy in a forked process, where no worker is."""
        return os.getpid() != self._process

    @property
    def ready(self) -> bool:
        """Whether a worker that has proven itself takes calls."""
        return self._proven > 0 and not self._closed

    @property
    def depth(self) -> int:
        """Number of calls that wait."""
        return len(self._waiting)

    @property
    def load(self) -> Load:
        """How busy it is and was."""
        with self._changed:
            return Load(len(self._waiting), self._capacity, dict(self._batches))

    def ask(
        self,
        pixels: Pixels,
        timeout: float | None = None,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Waits for the answer to one picture.

        Args:
            pixels: uint8 [H, W, 3].
            timeout: Seconds after which the call is given up before it is computed.
            abandoned: Tells whether nobody wants the answer any more; asked when the turn comes.

        Raises:
            QueueFullError: Too many calls wait already.
            DeadlineError: The time was over before the turn came.
            BackendError: The engine failed.
            ClosedError: The batcher is closed.
        """
        return self.ask_all([pixels], timeout, abandoned)[0]

    def ask_all(
        self,
        pictures: Sequence[Pixels],
        timeout: float | None = None,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> list[Answer]:
        """Waits for the answers to several pictures, which enter the queue together or not at all.

        Args:
            pictures: Each uint8 [H, W, 3].
            timeout: See `ask`.
            abandoned: See `ask`.

        Raises:
            QueueFullError: The queue has no room for all of them.
            DeadlineError: The time was over before the turn of one of them came.
            BackendError: The engine failed.
            ClosedError: The batcher is closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = [_Call(pixels, deadline, abandoned) for pixels in pictures]
        self._submit(calls)
        try:
            return [call.future.result() for call in calls]
        except BaseException:
            # One has failed, or Ctrl-C came: nobody needs the other answers any more.
            for call in calls:
                call.future.cancel()
            raise

    def prove(self) -> None:
        """Sends the proof picture through the queue and the engine.

        Raises:
            BackendError: The engine failed.
        """
        self.ask(self._proof[0])

    def close(self) -> None:
        """Answers what waits, then ends; may be called twice."""
        if self.is_forked:
            # Its locks may be held by threads that were not copied.
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # A worker that fails now is replaced before it ends, so none is missed.
        while threads := list(self._threads):
            for thread in threads:
                thread.join()

    def check_process(self) -> None:
        """Refuses to work in a forked process: there a call would wait for ever.

        Raises:
            BackendError: It is one.
        """
        if self.is_forked:
            raise BackendError(
                "This classifier was made before the process was forked.",
                "Make one in each process.",
            )

    def _submit(self, calls: Sequence[_Call]) -> None:
        self.check_process()
        with self._changed:
            if self._closed:
                raise ClosedError("The classifier is closed.")
            if self._broken:
                raise BackendError("The recognition engine is out of order.", "It is restarting.")
            if len(self._waiting) + len(calls) > self._capacity:
                raise QueueFullError(
                    f"{len(self._waiting)} pictures wait already; {self._capacity} may.",
                    "Try again soon, or raise the setting queue_size.",
                )
            self._waiting.extend(calls)
            self._changed.notify(len(calls))

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="sightbox-engine", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            # The system has none to give; `close` must not wait for it.
            self._threads.discard(thread)
            raise

    def _work(self) -> None:
        """Answers batches until the end, or until one fails."""
        buffer = np.empty((self._max_batch, *self._proof.shape[1:]), np.uint8)
        while calls := self._take():
            try:
                self._answer(calls, buffer)
            except BaseException as error:  # noqa: BLE001 - logged and told below
                # The edge of a worker: whatever it was, these calls must hear of it, and a fresh
                # worker must come, even where there is no memory left to log it.
                try:
                    logger.exception("The engine failed on a batch of %d.", len(calls))
                finally:
                    self._replace(calls, error)
                return
        with self._changed:
            self._threads.discard(threading.current_thread())

    def _take(self) -> list[_Call]:
        """Waits for calls and takes as many as fit; nothing at the end."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                count = min(self._max_batch, len(self._waiting))
                taken = [self._waiting.popleft() for _ in range(count)]
            if wanted := [call for call in taken if _is_wanted(call)]:
                return wanted

    def _answer(self, calls: Sequence[_Call], buffer: Pixels) -> None:
        begun = time.perf_counter()
        if len(calls) == 1:
            batch = calls[0].pixels[None]
        else:
            batch = np.stack([call.pixels for call in calls], out=buffer[: len(calls)])
        logits = self._run(batch)
        if len(logits) != len(calls):
            raise BackendError(f"{len(calls)} pictures went in, {len(logits)} answers came out.")
        _check_numbers(logits)
        ran = time.perf_counter() - begun
        with self._changed:
            self._batches[len(calls)] += 1
        for call, row in zip(calls, logits, strict=True):
            call.future.set_result(Answer(row, begun - call.asked, ran, len(calls)))

    def _replace(self, calls: Sequence[_Call], error: BaseException) -> None:
        told = (
            error
            if isinstance(error, SightboxError)
            else BackendError(f"The recognition engine failed: {type(error).__name__}.")
        )
        with self._changed:
            self._proven -= 1
            try:
                # Before this one is struck off: `close` must always find one to wait for.
                self._start(self._work_after_proof)
            except (RuntimeError, MemoryError):
                # Where it was the last one, nobody is left to answer those who wait.
                logger.exception("The system has no thread for a fresh worker.")
                self._fail_waiting()
            self._threads.discard(threading.current_thread())
        for call in calls:
            if not call.future.done():
                call.future.set_exception(told)

    def _work_after_proof(self) -> None:
        """Works as soon as the engine answers the proof picture again."""
        wait = FIRST_RETRY
        while True:
            try:
                self._prove()
            except BaseException as error:  # noqa: BLE001 - the edge of a worker, whatever it was
                logger.warning("The engine still fails: %s", error)
                self._fail_waiting()
            else:
                break
            with self._changed:
                if self._changed.wait_for(lambda: self._closed, timeout=wait):
                    self._threads.discard(threading.current_thread())
                    return
            wait = min(2 * wait, LONGEST_RETRY)
        with self._changed:
            self._proven += 1
            self._broken = False
        self._work()

    def _fail_waiting(self) -> None:
        """Gives up the calls that wait, and those to come, when nobody is left to answer them."""
        with self._changed:
            if self._proven:
                return
            self._broken = True
            abandoned = list(self._waiting)
            self._waiting.clear()
        for call in abandoned:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(BackendError("The recognition engine is out of order."))

    def _prove(self) -> None:
        _check_numbers(self._run(self._proof))


def _is_wanted(call: _Call) -> bool:
    """Tells whether to compute a call: not when nobody waits for it, or its time is over."""
    if not call.future.set_running_or_notify_cancel():
        return False
    if call.deadline is not None and time.monotonic() > call.deadline:
        call.future.set_exception(
            DeadlineError(
                "The time was over before the turn came.",
                "Try again soon, or raise the setting max_wait.",
            )
        )
        return False
    if call.abandoned():
        call.future.set_exception(DeadlineError("Nobody waits for the answer any more."))
        return False
    return True


def _check_numbers(logits: Logits) -> None:
    if not np.isfinite(logits).all():
        raise BackendError("The engine answered with what is no number.")
