"""Files that are whole or not there: written under another name, then renamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file, in the place of an older one.

    Of two processes that do it at once the last one wins, and no reader sees half a file.

    Raises:
        OSError: The folder is not there, full, or not writable. Nothing is left behind then.
    """
    with open_atomically(path) as file:
        file.write(content)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Gives a file to write to, which takes its name at the end, as `write_atomically` does.

    Raises:
        OSError: See there.
    """
    descriptor, scratch = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            # A box may lose its power: the content must be there before it has its name.
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except BaseException:
        # Ctrl-C, too, leaves nothing behind.
        Path(scratch).unlink(missing_ok=True)
        raise


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file, and returns when it is on the disk and not only in the system's memory.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
