"""A whole run: the requests are made, the server is tried, and then it is loaded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Literal

from sightbox.benchmark.conditions import Conditions, Watch
from sightbox.errors import RequestError
from sightbox.loadtest.connection import Answer, Connection, Target
from sightbox.loadtest.dialects import OPEN_INFERENCE, RAW, Dialect, find_dialect
from sightbox.loadtest.loops import (
    Asker,
    closed_loop,
    fixed_times,
    open_loop,
    poisson_times,
    what_failed,
)
from sightbox.loadtest.open_inference import Normalisation, Signature
from sightbox.loadtest.record import Record

Arrivals = Literal["fixed", "poisson"]

WARM_UP = 16
"""Requests before the clock runs, at most one for each picture: models load with the first one."""

UNCHANGED = Normalisation((0.0,), (1.0,))
"""Leaves values between 0 and 1."""

EXCERPT = 200
"""Bytes of a refusal that are shown."""


@dataclass(frozen=True)
class Plan:
    """What is asked, and how.

    Attributes:
        url: The server's; with a path, that is asked, else the dialect's.
        seconds: How long.
        dialect: One of `sightbox.loadtest.dialects.DIALECTS`.
        model: Name of the model there; the default one when None.
        default: Name of the model where the dialect needs one and none is given.
        normalisation: For models that take normalised tensors.
        token: Sent as a bearer token (RFC 6750), where given.
        clients: Of the closed loop.
        least: Requests of the closed loop that are made even if the time is over.
        rate: Requests a second of the open loop; None is the closed one.
        arrivals: When those of the open loop are due.
        connections: Most that the open loop opens.
        timeout: Seconds from when a request is due until it counts as failed.
    """

    url: str
    seconds: float = 10.0
    dialect: str = "native"
    model: str | None = None
    default: str = ""
    normalisation: Normalisation = UNCHANGED
    token: str | None = None
    clients: int = 1
    least: int = 1
    rate: float | None = None
    arrivals: Arrivals = "fixed"
    connections: int = 256
    timeout: float = 30.0


@dataclass(frozen=True)
class Run:
    """What was measured.

    Attributes:
        record: All requests.
        target: What was asked.
        checked: Whether the dialect tells what answers say.
        start: When it began, in seconds of `time.perf_counter`.
        seconds: How long it took, to the last answer.
        cpu: Part of a core that the client took.
        interrupted: Whether it was ended before its time.
        conditions: What the machine did beside it.
    """

    record: Record
    target: Target
    checked: bool
    start: float
    seconds: float
    cpu: float
    interrupted: bool
    conditions: Conditions


def load(plan: Plan, pictures: Sequence[bytes]) -> Run:
    """Loads a server, from a loop of its own; Ctrl-C ends it early, with what was measured.

    Args:
        plan: What is asked, and how.
        pictures: Files, sent in turn; at least one.

    Raises:
        RequestError: Nobody listens there, or does not answer such requests.
        ImageError: A picture cannot be made into what the model takes.
    """
    return asyncio.run(_load(plan, pictures))


async def _load(plan: Plan, pictures: Sequence[bytes]) -> Run:
    target = Target.of(plan.url)
    dialect = find_dialect(plan.dialect)
    path = target.path or dialect.path(plan.model, plan.default)
    if plan.dialect == OPEN_INFERENCE:
        dialect = await _as_it_takes_them(dialect, plan, target, path)
    requests = [_request(dialect, plan, target, path, picture) for picture in pictures]
    for request in requests[:WARM_UP]:
        await _ask_once(plan, target, path, request)
    asker = Asker(target, requests, dialect.read, plan.timeout)
    watch, start, cpu = Watch(), perf_counter(), process_time()
    interrupted = False
    try:
        await _loop(plan, asker)
    except asyncio.CancelledError:
        # `asyncio.run` makes this of Ctrl-C. What has been measured is still worth telling.
        interrupted = True
    asker.close()
    seconds = perf_counter() - start
    share = (process_time() - cpu) / seconds
    return Run(
        asker.record,
        target,
        plan.dialect != RAW,
        start,
        seconds,
        share,
        interrupted,
        watch.conditions(),
    )


async def _loop(plan: Plan, asker: Asker) -> None:
    if plan.rate is None:
        await closed_loop(asker, plan.clients, plan.seconds, plan.least)
        return
    times = {"fixed": fixed_times, "poisson": poisson_times}[plan.arrivals]
    await open_loop(asker, times(plan.rate, plan.seconds), plan.connections)


async def _as_it_takes_them(dialect: Dialect, plan: Plan, target: Target, path: str) -> Dialect:
    """Returns the dialect with what the server tells of the model.

    Raises:
        RequestError: It tells nothing of the kind.
    """
    about = path.partition("?")[0].removesuffix("/infer")
    answer = await _ask_once(plan, target, about, target.request("GET", about, _fields(plan)))
    signature = Signature.read(answer)
    return dialect._replace(write=lambda picture, _: signature.write(picture, plan.normalisation))


def _request(dialect: Dialect, plan: Plan, target: Target, path: str, picture: bytes) -> bytes:
    headers, body = dialect.write(picture, plan.model)
    return target.request("POST", path, {**headers, **_fields(plan)}, body)


def _fields(plan: Plan) -> dict[str, str]:
    return {} if plan.token is None else {"Authorization": f"Bearer {plan.token}"}


async def _ask_once(plan: Plan, target: Target, path: str, request: bytes) -> Answer:
    """Asks once on a connection of its own.

    Raises:
        RequestError: There is no answer, or one that says that asking is of no use.
    """
    connection = Connection(target)
    try:
        async with asyncio.timeout(plan.timeout):
            answer = await connection.ask(request)
    except (OSError, EOFError, ValueError) as error:
        raise RequestError(
            f"{target.authority} cannot be measured: {what_failed(error)}.",
            "Does a server listen there? sightbox serve starts one.",
        ) from error
    finally:
        connection.close()
    if 400 <= answer.status < 500:  # the client's own fault: RFC 9110, section 15.5
        told = answer.body[:EXCERPT].decode(errors="replace")
        raise RequestError(
            f"{target.authority} answers {path} with {answer.status}: {told}",
            _hint(answer.status, plan),
        )
    return answer


def _hint(status: int, plan: Plan) -> str:
    if status in {401, 403}:
        return "Give its token: --token."
    return f"Does it speak {plan.dialect}, and is the model there? See --dialect and --model."
