"""The entry: makes the streams fit for every name, and tells errors in words.

Nothing heavy is imported before `run` is called, so that Ctrl-C ends in order from the start.
"""

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from sightbox.cli.interrupts import INTERRUPTED, instant_interrupts
from sightbox.errors import SightboxError

FAILED = 1


def run() -> None:
    """Runs the command line and exits."""
    try:
        _prepare_streams()
        try:
            with instant_interrupts():
                from sightbox.cli.commands import app  # noqa: PLC0415 - see the module's docstring
            app()
        finally:
            # At the interpreter's end a full disk could not be told in words any more.
            sys.stdout.flush()
    except SightboxError as error:
        _end(error.exit_code, str(error))
    except BrokenPipeError:
        _end(FAILED)
    except OSError as error:
        _end(FAILED, _in_words(error))
    except KeyboardInterrupt:
        _end(INTERRUPTED)


def _prepare_streams() -> None:
    """Gives closed streams an end, and spells out what a stream's encoding cannot say."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            stream = os.fdopen(nowhere, "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _in_words(error: OSError) -> str:
    reason = error.strerror or str(error)
    where = f"{error.filename}" if error.filename is not None else "Reading or writing failed"
    return f"{where}: {reason}."


def _end(code: int, text: str = "") -> NoReturn:
    """Exits. What a broken stream still holds is dropped, or it would fail once more at the end."""
    with suppress(OSError):
        if text:
            print(f"sightbox: {text}", file=sys.stderr, flush=True)  # noqa: T201
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
