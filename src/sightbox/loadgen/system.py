"""The system under task: threads that answer what LoadGen asks, as those of a server would."""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import BackendError

Said = NDArray[np.float64]
"""An answer as LoadGen keeps it: the classes, the most likely first, and the score of that one."""

NOTHING = np.zeros(0)
"""The answer to a picture that could not be read."""


class System:
    """Answers from a number of threads, while it is entered.

    LoadGen's thread only puts what it asks into a queue: what it has to wait for would distort its
    schedule.

    Args:
        library: LoadGen.
        answer: Answers the picture of a number.
        threads: How many.
    """

    def __init__(
        self,
        library: Any,  # noqa: ANN401 - it ships no types
        answer: Callable[[int], Said],
        threads: int,
    ) -> None:
        self._library, self._answer = library, answer
        self._asked: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"sightbox-loadgen-{number}")
            for number in range(threads)
        ]
        self._failure: Exception | None = None

    def issue(self, samples: Sequence[Any]) -> None:
        """Takes what LoadGen asks."""
        for sample in samples:
            self._asked.put((sample.id, sample.index))

    def flush(self) -> None:
        """Does nothing: no sample is held back."""

    def check(self) -> None:
        """Raises what went wrong in a thread.

        Raises:
            BackendError: Something did.
        """
        if self._failure is not None:
            raise BackendError(f"A picture could not be answered: {self._failure}")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (sample := self._asked.get()) is not None:
            number, index = sample
            try:
                said = self._answer(index)
            except Exception as error:  # noqa: BLE001 - the edge of a worker: LoadGen waits for it
                self._failure = self._failure or error
                said = NOTHING
            response = self._library.QuerySampleResponse(number, said.ctypes.data, said.nbytes)
            # `said` lives until the call has copied it.
            self._library.QuerySamplesComplete([response])
