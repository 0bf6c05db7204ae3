"""The two ways to load a server: clients that wait for their answers, and clients that do not.

In a closed loop each client asks again when it has its answer: it slows down with the server, tells
what the server can do, and cannot overload it. In an open loop requests are due at their times,
whatever the server does, as those of many independent people are. Latency counts from the due time
there, so that a stall costs all requests that fell into it and not only the one that met it.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from sightbox.loadtest.connection import Answer, Connection, Target
from sightbox.loadtest.record import LATE_SECONDS, OK, Record

PAUSE = 0.05
"""Seconds that a client of the closed loop rests after an error: a dead server is not hammered."""

SEED = 0
"""Of the random times: the same rate always gives the same schedule."""

Reader = Callable[[Answer], str | None]
"""Returns the first class that an answer names; None where it names none."""


class Asker:
    """Asks over connections that are used again, and records what becomes of it.

    Args:
        target: Where.
        requests: Whole requests, one for each picture; they are sent in turn.
        read: What the answers say.
        timeout: Seconds from when a request is due until it counts as failed.
    """

    def __init__(
        self, target: Target, requests: Sequence[bytes], read: Reader, timeout: float
    ) -> None:
        self.record = Record()
        self._target, self._requests, self._read = target, requests, read
        self._timeout = timeout
        self._free: list[Connection] = []

    async def ask(self, number: int, due: float | None = None) -> bool:
        """Asks once; returns whether there was an answer.

        Args:
            number: Number of the request.
            due: When it should have been sent, in seconds of `time.perf_counter`; now.
        """
        picture = number % len(self._requests)
        sent = perf_counter()
        due = sent if due is None else due
        left = due + self._timeout - sent
        if left <= 0:
            self._fail(due, sent, TimeoutError())
            return False
        connection = self._free.pop() if self._free else Connection(self._target)
        try:
            async with asyncio.timeout(left):
                answer = await connection.ask(self._requests[picture])
        except (OSError, EOFError, ValueError) as error:
            self._fail(due, sent, error)
            connection.close()
            return False
        except asyncio.CancelledError:
            self.record.unfinished += 1
            connection.close()
            raise
        self.record.add(due, sent, perf_counter(), answer.status)
        self._free.append(connection)
        if answer.status == OK:
            self.record.add_answer(picture, self._read(answer), answer.body)
        return True

    def close(self) -> None:
        """Closes the connections."""
        for connection in self._free:
            connection.close()
        self._free.clear()

    def _fail(self, due: float, sent: float, error: Exception) -> None:
        self.record.add(due, sent, perf_counter(), 0)
        self.record.errors[what_failed(error)] += 1


async def closed_loop(asker: Asker, clients: int, seconds: float, least: int = 0) -> None:
    """Lets clients ask, each again as soon as it has its answer.

    Args:
        asker: What asks.
        clients: How many.
        seconds: After this time no more is asked; the last answers are waited for.
        least: Requests that are made in any case.
    """
    end = perf_counter() + seconds
    numbers = itertools.count()
    asked = 0

    async def client() -> None:
        nonlocal asked
        while asked < least or perf_counter() < end:
            asked += 1
            if not await asker.ask(next(numbers)):
                await asyncio.sleep(PAUSE)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


async def open_loop(asker: Asker, times: Iterator[float], connections: int) -> None:
    """Asks at given times, whether there are answers or not, and waits for the last ones.

    Args:
        asker: What asks.
        times: When, in seconds from now, ascending.
        connections: Most that are open at once. A request beyond them waits, and its latency with
            it.
    """
    start = perf_counter()
    places = asyncio.Semaphore(connections)

    async def ask(number: int, due: float) -> None:
        asker.record.late += perf_counter() - due >= LATE_SECONDS
        asker.record.waited += places.locked()
        try:
            await places.acquire()
        except asyncio.CancelledError:
            asker.record.unfinished += 1
            raise
        try:
            await asker.ask(number, due)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        for number, time in enumerate(times):
            await asyncio.sleep(max(0.0, start + time - perf_counter()))
            group.create_task(ask(number, start + time))


def fixed_times(rate: float, seconds: float) -> Iterator[float]:
    """Yields times at equal distances, `rate` a second."""
    return (number / rate for number in range(int(rate * seconds)))


def poisson_times(rate: float, seconds: float) -> Iterator[float]:
    """Yields times as independent people come: a Poisson process of `rate` a second."""
    draw = random.Random(SEED)  # noqa: S311 - a schedule is no secret
    time = draw.expovariate(rate)
    while time < seconds:
        yield time
        time += draw.expovariate(rate)


def what_failed(error: Exception) -> str:
    """Returns in a few words why there was no answer."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "connection broken"
        case EOFError():
            return "connection closed within the answer"
        case OSError():
            return error.strerror or str(error)
        case _:
            return "no HTTP answer"
