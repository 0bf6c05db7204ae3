"""What a decoder process and its owner say to each other: frames of JSON with bytes behind it.

A frame is two numbers of 4 bytes, big-endian, the lengths of what follows: a JSON object and bytes.
It is JSON and not a pickle because the process may have been taken over by the picture it decoded:
what it says can then be wrong, but runs nothing.

The owner sends a job, an object that `Job` describes with the picture's file behind it. The
process answers with ``{"pixels": number}`` when it has read the header, waits for ``{"go": true}``,
and sends the result: what `result_to_json` gives with the pixels behind it. Wherever it finds the
picture wrong it sends ``{"error": code, "detail": text, "hint": text}`` instead. A fresh process
first says ``{}``.
"""

import errno
import json
import struct
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sightbox.image import MAX_SIDE, ImageLimits
from sightbox.pictures import PreparedPicture
from sightbox.prediction import ImageInfo
from sightbox.preprocessing import Preprocessing, Recipe

OUT_OF_MEMORY = errno.ENOMEM
"""Exit code of a process whose memory did not suffice; a fresh one has it in one piece again."""

MAX_HEAD_BYTES = 65_536
"""Largest JSON object of a frame; errors have some hundred bytes."""

_LENGTHS = struct.Struct(">II")

Json = dict[str, Any]


class Stream(Protocol):
    """A pipe with two ends, without a buffer."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Reads up to the buffer's length; 0 at the end."""

    def write(self, data: memoryview, /) -> int | None:
        """Writes some of the data and returns how many bytes."""


@dataclass(frozen=True)
class Job:
    """How a picture is to be made into pixels; see `sightbox.pictures.prepare_picture`."""

    recipe: Recipe
    limits: ImageLimits
    preprocessing: Preprocessing

    def to_json(self) -> Json:
        """Returns the head of the frame."""
        return {
            "recipe": vars(self.recipe),
            "limits": vars(self.limits),
            "preprocessing": self.preprocessing,
        }

    @classmethod
    def from_json(cls, head: Json) -> "Job":
        """Reads what `to_json` gave."""
        limits = head["limits"]
        formats = tuple(limits["formats"])
        return cls(
            Recipe(**head["recipe"]),
            ImageLimits(limits["max_pixels"], formats),
            head["preprocessing"],
        )


def result_to_json(prepared: PreparedPicture) -> Json:
    """Returns what goes before the pixels of a result."""
    return {"image": vars(prepared.image), "preprocessing": prepared.preprocessing}


def result_from_json(head: Json, body: bytearray, job: Job, spent: float) -> PreparedPicture:
    """Reads a result, of which nothing is believed.

    Args:
        head: The head of the frame.
        body: What is behind it.
        job: What was to be done.
        spent: Seconds that it took, the waits not counted.

    Raises:
        ValueError: It is none.
    """
    image, preprocessing = head.get("image"), head.get("preprocessing")
    if not isinstance(image, dict) or not isinstance(preprocessing, float):
        raise ValueError("no result")  # noqa: TRY004 - its sender is wrong
    sides, kind = (image.get("width"), image.get("height")), image.get("format")
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
        raise ValueError("no size")
    if kind not in job.limits.formats:
        raise ValueError("no format")
    resizing = preprocessing if 0 <= preprocessing <= spent else 0.0
    side = job.recipe.crop
    pixels = np.frombuffer(body, np.uint8).reshape(side, side, 3)
    info = ImageInfo(width, height, kind)
    return PreparedPicture(pixels, info, 0.0, spent - resizing, resizing)


def send(stream: Stream, head: Json, body: bytes | bytearray | memoryview = b"") -> None:
    """Sends one frame.

    Raises:
        OSError: Nobody listens any more, or not in time.
    """
    text = json.dumps(head).encode()
    for data in (_LENGTHS.pack(len(text), len(body)) + text, body):
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) or 0 :]


def receive(stream: Stream, most: int) -> tuple[Json, bytearray]:
    """Waits for one frame.

    Args:
        stream: Where it comes from.
        most: Most bytes behind the JSON.

    Raises:
        EOFError: The other side has ended.
        OSError: The frame did not come in time.
        ValueError: It is none.
    """
    head_length, body_length = _LENGTHS.unpack(_read(stream, _LENGTHS.size))
    if head_length > MAX_HEAD_BYTES or body_length > most:
        raise ValueError(f"A frame has {head_length} and {body_length} bytes.")
    try:
        head = json.loads(_read(stream, head_length))
    except RecursionError as error:
        raise ValueError("A frame is nested too deeply.") from error
    if not isinstance(head, dict):
        raise ValueError("A frame is no object.")  # noqa: TRY004 - its sender is wrong
    return head, _read(stream, body_length)


def _read(stream: Stream, length: int) -> bytearray:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        count = stream.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return data
