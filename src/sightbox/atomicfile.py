"""Files that are whole or not there: written under another name, then renamed."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file, in the place of an older one.

    Of two processes that do it at once the last one wins, and no reader sees half a file.

    Raises:
        OSError: The folder is not there, full, or not writable. Nothing is left behind then.
    """
    descriptor, scratch = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(scratch).replace(path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
