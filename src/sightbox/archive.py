"""A model as one file, to be carried to another machine: a zip of its card and its weights.

The graph is not in it. It is built anew from the weights, so that nothing but numbers is taken from
a file that somebody brought.
"""

import hashlib
import stat
import zipfile
import zlib
from pathlib import Path

from sightbox.errors import ModelError
from sightbox.model import CARD, WEIGHTS, Card, Model

MAX_IMPORT_BYTES = 2 << 30
"""Largest file that is imported; ResNet-50 has a twentieth of it."""

MAX_CARD_BYTES = 1_000_000
"""Largest card: that of a thousand classes with long names has a tenth of it."""

MAX_WEIGHTS_BYTES = 1 << 30
"""Largest weights: ten times those of ResNet-50."""

_FLAG_ENCRYPTED = 0x1  # APPNOTE.TXT of the zip format, section 4.4.4


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file that is to be imported.

    Raises:
        ModelError: It is no file, too large, or cannot be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_IMPORT_BYTES:
            raise ModelError(f"{path} is no file of at most {MAX_IMPORT_BYTES:,} bytes.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


def write_archive(model: Model, target: Path) -> None:
    """Writes a model as one file, under a temporary name until it is whole.

    Raises:
        OSError: The file cannot be written.
        ModelError: The model is damaged.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        # Weights do not compress; and what is stored cannot be a bomb when it is read.
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            for name, content in ((CARD, model.card.to_json()), (WEIGHTS, model.read(WEIGHTS))):
                # Without a time of its own, so that the same model gives the same bytes.
                archive.writestr(zipfile.ZipInfo(name), content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def is_archive(path: Path) -> bool:
    """Tells whether a file is a zip with a card in it; torch's files are zips too."""
    try:
        with zipfile.ZipFile(path) as archive:
            return CARD in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def read_archive(path: Path) -> tuple[Card, bytes]:
    """Returns the card and the content of the weights file.

    Raises:
        ModelError: The file is damaged, or not of the form that `write_archive` gives.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            card = Card.from_json(_member(archive, CARD, MAX_CARD_BYTES))
            return card, _member(archive, WEIGHTS, MAX_WEIGHTS_BYTES)
    except (
        KeyError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ModelError(f"{path.name} is no whole exported model: {error}.") from error


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _FLAG_ENCRYPTED:
        raise ModelError(f"{name} is compressed or encrypted, which an export never is.")
    if entry.file_size > limit:
        raise ModelError(f"{name} has {entry.file_size:,} bytes; the limit is {limit:,}.")
    return archive.read(entry)
