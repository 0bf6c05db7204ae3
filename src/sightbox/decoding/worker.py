"""A decoder process: ``python -m sightbox.decoding.worker MEMORY_MB SECONDS``.

It speaks with its owner over descriptor 0 (`sightbox.decoding.frames`), imports no more than it
takes to decode, and ends with its owner.
"""

import io
import os
import sys

from sightbox.decoding.confinement import (
    confine,
    end_with_owner,
    limit_processor,
    volunteer_for_the_oom_killer,
)
from sightbox.decoding.frames import (
    OUT_OF_MEMORY,
    Job,
    Stream,
    receive,
    result_to_json,
    send,
)
from sightbox.errors import DecodeMemoryError, ImageError, SightboxError
from sightbox.image import webp_size
from sightbox.machine import limit_arenas
from sightbox.pictures import MAX_FILE_BYTES, prepare_picture

BYTES_PER_MB = 1_000_000

WORST_BYTES_PER_PIXEL = 24
"""What decoding takes at most, as measured: an animated WebP, transparent and turned."""

WORST_COPIES = 3
"""How often the file is in memory: in the frame, for Pillow, and for Pillow's WebP reader."""


class _RefusedError(Exception):
    """The owner does not want the picture decoded."""


def main() -> None:
    """Answers jobs until the owner is gone."""
    memory_mb, seconds = map(float, sys.argv[1:])
    stream = io.FileIO(0, "r+", closefd=False)
    limit_arenas(1)
    volunteer_for_the_oom_killer()
    end_with_owner(0)
    confine(int(memory_mb * BYTES_PER_MB))
    try:
        send(stream, {})
        while True:
            head, file = receive(stream, MAX_FILE_BYTES)
            limit_processor(seconds)
            _answer(stream, Job.from_json(head), file, memory_mb)
    except (EOFError, ConnectionError):
        return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)


def _answer(stream: Stream, job: Job, file: bytearray, memory_mb: float) -> None:
    width, height = webp_size(file) or (0, 0)
    announced = width * height

    def permit(pixels: int) -> None:
        nonlocal announced
        announced = pixels
        send(stream, {"pixels": pixels})
        if receive(stream, 0)[0] != {"go": True}:
            raise _RefusedError

    try:
        prepared = prepare_picture(file, job.recipe, job.limits, job.preprocessing, permit)
    except _RefusedError:
        return
    except SightboxError as error:
        if isinstance(error.__cause__, MemoryError):
            # A fresh process has its memory in one piece again.
            raise error.__cause__ from None
        most = WORST_BYTES_PER_PIXEL * announced + WORST_COPIES * len(file)
        if type(error) is ImageError and most > memory_mb * BYTES_PER_MB:
            error = _doubtful(error, memory_mb)
        send(stream, {"error": error.code, "detail": error.detail, "hint": error.hint})
    else:
        send(stream, result_to_json(prepared), prepared.pixels.data.cast("B"))


def _doubtful(error: ImageError, memory_mb: float) -> DecodeMemoryError:
    """Says both where libjpeg or libwebp calls damaged what it has no memory for."""
    return DecodeMemoryError(
        f"{error.detail} Or it needs more than {memory_mb:g} MB to be decoded.",
        "Make it smaller, or raise the setting decode_memory_mb.",
    )


if __name__ == "__main__":
    main()
