"""What one request goes through: noted where the work is done, told when it is answered.

The trace of the current request is a context variable, so that no step needs one more argument.
Where nobody has begun a trace, as in Python and on the command line, nothing is noted.
"""

import hashlib
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter

DIGEST_DIGITS = 12
"""How much of a file's sha256 is noted, in hexadecimal digits: enough to find it among millions."""

STAGES = ("accept", "wait", "decode", "preprocess", "queue", "infer", "encode")
"""Where the time of a request goes, in this order: until a thread takes it; until a core is free
for the picture; decoding it; resizing and cropping it; until the engine takes it; the batch that it
is part of; and from the engine's last answer to the response."""


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture as it may be told of: nothing that it shows, and nothing that it is called.

    Attributes:
        format: Its file format; None for pixels without a file.
        width: Pixels in a row.
        height: Rows.
        size: Bytes of its file; None without a file.
        digest: The beginning of its file's sha256; None without a file, or when not wanted.
    """

    format: str | None
    width: int
    height: int
    size: int | None
    digest: str | None


@dataclass(slots=True)
class Trace:
    """What one request has gone through so far; noted in by several threads.

    Attributes:
        request_id: What names the request to its client and in the log.
        digests: Whether to compute the sha256 of its pictures.
        begun: When the request had come in whole, by `time.perf_counter`.
        pictures: The pictures that were decoded.
        stages: A stage's name and its seconds, once for each picture that went through it.
        answered: The model's name, once for each picture that it has answered.
        problems: The codes of the errors that the client is told.
        last_answer: When the engine answered last; None when it has not.
    """

    request_id: str
    digests: bool = False
    begun: float = field(default_factory=perf_counter)
    pictures: list[SeenPicture] = field(default_factory=list)
    stages: list[tuple[str, float]] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    last_answer: float | None = None


_current: ContextVar[Trace | None] = ContextVar("sightbox_trace", default=None)


def begin_trace(trace: Trace) -> None:
    """Makes a trace the one of the current context, until `end_trace`."""
    _current.set(trace)


def end_trace() -> None:
    """Leaves the current context without a trace."""
    _current.set(None)


def current_trace() -> Trace | None:
    """Returns the trace of the current request; None outside of requests."""
    return _current.get()


def note_picture(
    picture: object, form: str | None, width: int, height: int, **seconds: float
) -> None:
    """Notes a picture that was decoded.

    Args:
        picture: What was given; the bytes of a file are counted and hashed, and not kept.
        form: The file's format.
        width: Pixels in a row.
        height: Rows.
        seconds: The time of each stage that it went through, by the stage's name.
    """
    if (trace := _current.get()) is None:
        return
    length = digest = None
    if isinstance(picture, bytes | bytearray | memoryview):
        length = memoryview(picture).nbytes
        digest = hashlib.sha256(picture).hexdigest()[:DIGEST_DIGITS] if trace.digests else None
    trace.pictures.append(SeenPicture(form, width, height, length, digest))
    trace.stages.extend(seconds.items())


def note_answers(model: str, times: Iterable[tuple[float, float]]) -> None:
    """Notes what the engine has answered.

    Args:
        model: Name of the model.
        times: For each picture the seconds that it waited, and those that its batch took.
    """
    if (trace := _current.get()) is None:
        return
    for waited, ran in times:
        trace.stages.extend((("queue", waited), ("infer", ran)))
        trace.answered.append(model)
    trace.last_answer = perf_counter()


def note_problem(code: str) -> None:
    """Notes the code of an error that the client is told."""
    if (trace := _current.get()) is not None:
        trace.problems.append(code)
