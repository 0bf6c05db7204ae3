"""Reads weights files (``.pth``, ``.safetensors``) into arrays, without torch and running no code.

``file -> bytes -> sha256 -> format -> pickle -> state dict -> arrays``

=================  ==============================================================
`read_checkpoint`  the whole way; the only name that other packages need
`zipped`           torch's zip format
`legacy`           torch's older format of pickles in a row
`pickles`          the interpreter that can run nothing
`vocabulary`       the names in torch's pickles that have a meaning
`tensors`          views of storages, checked, and made into arrays
`state_dict`       the state dict inside a training checkpoint
=================  ==============================================================

The safetensors format is `sightbox.safetensors`. Every error is a `CheckpointError`.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

import numpy as np

from sightbox.checkpoint.legacy import LEGACY_START, open_legacy
from sightbox.checkpoint.state_dict import find_state_dict, without_prefix
from sightbox.checkpoint.tensors import ONLY_WEIGHTS, Archive, build_arrays
from sightbox.checkpoint.zipped import ZIP_START, open_zipped
from sightbox.errors import CheckpointError
from sightbox.safetensors import load_safetensors, shown

# The largest network that is built here has 60 million parameters (240 MB); a training checkpoint
# holds them three times.
MAX_FILE_BYTES = 1 << 30

_FETCH_AGAIN = "Fetch the file again, and compare its sha256 with the publisher's."
_TEXT_BYTES = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def read_checkpoint(path: Path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Return the weights in a file as arrays by name; the file may be hostile.

    The format is told by the content: torch's zip format, torch's older format, or safetensors. A
    training checkpoint's weights are found under ``state_dict`` or ``model``, and DataParallel's
    prefix ``module.`` is taken off. float16, bfloat16 and float64 become float32; float32, bool
    and the integers stay. Every array owns its memory and is C-contiguous.

    Args:
        path: A regular file of at most `MAX_FILE_BYTES`; it is read into memory once.
        sha256: The file's digest, 64 hex digits or at least the first 8 of them, as in
            torchvision's file names. It is checked before anything is parsed.

    Raises:
        CheckpointError: The file cannot be read, is not the expected one, is damaged, asks for
            code to be run, or holds no weights.
    """
    try:
        data = _read(path)
        if sha256 is not None:
            _check_digest(data, sha256.lower())
        return _parse(data)
    except CheckpointError as error:
        hint = error.hint or _FETCH_AGAIN
        raise CheckpointError(f"{path.name}: {error.detail}", hint) from error
    except MemoryError as error:
        raise CheckpointError(
            f"{path.name}: The file does not fit into memory.", "Close other programs."
        ) from error


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise CheckpointError(f"This is {kind}.", "Name a weights file.")
        if status.st_size > MAX_FILE_BYTES:
            raise CheckpointError(
                f"The file has {status.st_size} bytes; at most {MAX_FILE_BYTES} are read.",
                ONLY_WEIGHTS,
            )
        return path.read_bytes()
    # A ValueError is what `open` makes of a name with a NUL character.
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise CheckpointError(f"The file cannot be read ({reason}).", "Check its path.") from error


def _check_digest(data: bytes, expected: str) -> None:
    if not _DIGEST.fullmatch(expected):
        raise CheckpointError(
            f"The expected sha256 {shown(expected)} is not 8 to 64 hex digits.",
            "Give the digest as sha256sum prints it.",
        )
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(expected):
        raise CheckpointError(f"The file's sha256 is {found}, but {expected} is expected.")


def _parse(data: bytes) -> dict[str, np.ndarray]:
    if data[7:9] == b"\0{":
        arrays = load_safetensors(data)
    else:
        archive = _opened(data)
        arrays = build_arrays(find_state_dict(archive.root), archive, len(data))
    if not arrays:
        raise CheckpointError("The file holds no tensors.")
    return without_prefix(arrays)


def _opened(data: bytes) -> Archive:
    if data.startswith(ZIP_START):
        return open_zipped(data)
    if data.startswith(LEGACY_START):
        return open_legacy(data)
    if not data:
        raise CheckpointError("The file is empty.")
    start = data[:1000]
    if start.lstrip().startswith(b"<"):
        raise CheckpointError(
            "The file is a web page, not weights.",
            "The server sent a page instead of the file; fetch it from another address.",
        )
    if all(byte in _TEXT_BYTES for byte in start):
        raise CheckpointError(f"The file is a text that begins with {shown(start[:40].decode())}.")
    raise CheckpointError(
        f"The file begins with the bytes {start[:8].hex(' ')}, which no known format does.",
        "Known are torch's .pth files and safetensors.",
    )
