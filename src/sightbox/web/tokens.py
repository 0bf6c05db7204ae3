"""The token that who comes from another machine needs: given, or made once and kept in a file."""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sightbox.atomicfile import write_atomically
from sightbox.errors import SettingsError
from sightbox.filelock import exclusive_lock
from sightbox.settings import Settings
from sightbox.settings_table import MIN_TOKEN_CHARACTERS, SENDABLE, SENDABLE_TEXT
from sightbox.store import Store
from sightbox.web.guard import is_loopback

FILE = "token"
"""Name of the file in the home folder."""

RANDOM_BYTES = 32
"""Of a token that is made: 256 bits, which nobody guesses; 43 characters."""

MAX_FILE_BYTES = 4_096
"""Largest token file that is read, so that a wrong path is told and not read whole."""

FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What nobody but the owner of a file may do with it."""

FOR_STRANGERS = stat.S_IWGRP | stat.S_IRWXO
"""The same of a file that belongs to somebody else: the group is how this process may read what a
container engine or systemd hands to it."""

OTHER_WAYS = "Or give the token as SIGHTBOX_TOKEN, or accept everyone with --insecure."


@dataclass(frozen=True)
class Token:
    """A token, and where it is from.

    Attributes:
        text: The token itself; never logged, not in the `repr`.
        path: The file that keeps it.
        is_new: Whether it was made just now, and nobody has seen it yet.
    """

    text: str = field(repr=False)
    path: Path
    is_new: bool

    def link(self, url: str) -> str:
        """Returns the address that opens the page with the token.

        It stands behind the ``#``, which browsers keep to themselves (RFC 9110, section 4.2.5).
        """
        return f"{url}/#token={quote(self.text, safe='')}"


def kept_token(settings: Settings) -> Token | None:
    """Returns the token that a file keeps; makes both on the first start.

    None means that no file is asked for: the token is given, none is needed because the server
    listens to this machine alone, or everyone is let in (``insecure``).

    Raises:
        SettingsError: The file cannot be read or written, others can read it, or what it holds is
            no token.
    """
    exposed = not is_loopback(settings.host) and not settings.insecure
    if settings.token is not None or (settings.token_file is None and not exposed):
        return None
    path = settings.token_file or Store(settings.home).home / FILE
    try:
        if path.exists():
            return Token(_read(path), path, is_new=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of two servers that start at once the second takes what the first has made.
        with exclusive_lock(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return Token(_read(path), path, is_new=False)
            made = secrets.token_urlsafe(RANDOM_BYTES)
            # It makes files that only their owner may read, from their first moment.
            write_atomically(path, f"{made}\n".encode())
    except OSError as error:
        raise SettingsError(
            f"The token file {path} cannot be used: {error.strerror}.",
            f"Choose another place: SIGHTBOX_TOKEN_FILE. {OTHER_WAYS}",
        ) from error
    return Token(made, path, is_new=True)


def _read(path: Path) -> str:
    # O_NONBLOCK: a pipe in the file's place must not stop the start.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise SettingsError(
                f"The token file {path} is no file of at most {MAX_FILE_BYTES:,} bytes.",
                f"SIGHTBOX_TOKEN_FILE names it. {OTHER_WAYS}",
            )
        _refuse_readers(path, status)
        text = file.read().decode("ascii", "replace").strip()
    if len(text) < MIN_TOKEN_CHARACTERS or not SENDABLE_TEXT.fullmatch(text):
        raise SettingsError(
            f"The file {path} holds no token: at least {MIN_TOKEN_CHARACTERS} {SENDABLE}.",
            "Remove it, and the next start makes a new one.",
        )
    return text


def _refuse_readers(path: Path, status: os.stat_result) -> None:
    if os.name != "posix":
        # Windows has lists of rights instead of a mode; a folder of the user's is the user's.
        return
    refused = FOR_OTHERS if status.st_uid == os.geteuid() else FOR_STRANGERS
    if status.st_mode & refused:
        raise SettingsError(
            f"Others than its owner can read or change the token file {path}.",
            f"Run: chmod 600 {path}. If somebody may have read it, remove it instead: the next "
            "start makes a new one.",
        )
