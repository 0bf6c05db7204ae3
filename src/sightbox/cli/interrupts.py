"""Ctrl-C while libraries load."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells count."""


@contextmanager
def instant_interrupts() -> Iterator[None]:
    """Lets Ctrl-C end the process at once, without a word, as long as nothing has begun.

    Inside an import a `KeyboardInterrupt` would come out as something else (pybind11 makes it an
    `ImportError`), or be printed and forgotten. Where Ctrl-C is ignored (``nohup``), it stays so.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
