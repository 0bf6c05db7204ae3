"""Lets one thread of one process at a time do a piece of work.

The lock is the operating system's own, on a file that all of them can see: flock(2) on POSIX
systems, `LockFile` through the C runtime on Windows. A holder that is killed frees it at once.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # LK_LOCK gives up after ten tries, a second apart, with EDEADLOCK; only then ask again.
        while True:
            try:
                return msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError as error:
                if error.errno != errno.EDEADLOCK:
                    raise
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


# What file systems without locks answer (some network and FUSE mounts).
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Holds the lock file ``path`` while the block runs; waits without limit for its turn.

    Processes exclude each other, and so do the threads of one process. A thread that asks twice
    for the same path waits for itself for ever. The empty file is removed at the end (on Windows
    it stays). On a file system that has no locks the block runs without one.

    Args:
        path: The lock file; its folder must exist. Nothing is ever written to it.

    Raises:
        OSError: The file cannot be created, as in a folder that is read-only.
    """
    while True:
        with path.open("ab") as file:
            _lock_if_supported(file.fileno())
            # The last holder removed the file while we waited: others already meet at a newer one.
            if not _is_still(path, file.fileno()):
                continue
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
            return


def _lock_if_supported(descriptor: int) -> None:
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
