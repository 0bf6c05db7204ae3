"""The command line as a person or a script uses it: real processes, pipes, a pseudo-terminal."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SIGHTBOX = [sys.executable, "-W", "error", "-m", "sightbox"]


def run(
    *arguments: str | bytes | Path, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs ``sightbox`` and returns exit code, output and error output."""
    done = subprocess.run(
        [*SIGHTBOX, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ | (env or {}),
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def on_terminal(arguments: Sequence[str | Path], **environment: str) -> str:
    """Runs ``sightbox`` on a pseudo-terminal and returns what it shows."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [*SIGHTBOX, *arguments],
        stdout=child,
        stderr=child,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
    ):
        os.close(child)
        shown = b""
        # Linux answers EIO when the last process on the other side has gone.
        while chunk := _read(parent):
            shown += chunk
    os.close(parent)
    return shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
