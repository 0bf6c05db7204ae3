"""The offline kit: one tar with all that an installation needs, and the sha256 of each file in it.

``wheels/`` and ``models/`` (as `sightbox models export` writes them), ``install.sh``, ``check.py``,
``SHA256SUMS`` for sha256sum(1), and ``manifest.json``. The same content gives the same bytes.
"""

import hashlib
import io
import json
import platform
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import sightbox
from sightbox.atomicfile import open_atomically
from sightbox.errors import KitError

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"

SCHEMA = "sightbox-kit-1"
"""Form of the manifest: docs/offline.md."""

SCRIPTS = ("install.sh", "check.py")
"""What runs on the other machine, before anything is installed there."""

MAX_MANIFEST_BYTES = 1 << 20
"""Largest manifest that is read: one of a hundred wheels has a fiftieth of it."""

BLOCK = 1 << 20
"""Bytes that are read at a time."""

Progress = Callable[[str, int, int], None]
"""Is told which file is written now, and how many bytes of how many are."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file of a kit."""

    file: str
    problem: str


def write_kit(
    wheels: Path, models: Path, target: Path, progress: Progress = lambda *_: None
) -> str:
    """Writes a kit, under another name until it is whole.

    Args:
        wheels: Folder with the wheels.
        models: Folder with the exported models.
        target: The tar.
        progress: Is told each file before it is written.

    Returns:
        The sha256 of the kit's manifest, which vouches for all other files.

    Raises:
        OSError: The tar cannot be written.
    """
    parts = {f"wheels/{path.name}": path for path in wheels.glob("*.whl")}
    parts |= {f"models/{path.name}": path for path in models.glob("*.zip")}
    texts = {name: _script(name) for name in SCRIPTS}
    sums = {name: _sha256(path) for name, path in parts.items()}
    sums |= {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    texts[SUMS] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    sums[SUMS] = hashlib.sha256(texts[SUMS]).hexdigest()
    texts[MANIFEST] = (json.dumps(_manifest(sums), indent=1) + "\n").encode()
    total = sum(path.stat().st_size for path in parts.values())
    done = 0
    with open_atomically(target) as file, tarfile.open(fileobj=file, mode="w") as tar:
        # The manifest first: a check need not look for it.
        for name in (MANIFEST, SUMS, *SCRIPTS):
            tar.addfile(_entry(name, len(texts[name])), io.BytesIO(texts[name]))
        for name in sorted(parts):
            progress(name, done, total)
            size = parts[name].stat().st_size
            with parts[name].open("rb") as part:
                tar.addfile(_entry(name, size), part)
            done += size
    return hashlib.sha256(texts[MANIFEST]).hexdigest()


def check_kit(kit: Path, progress: Progress = lambda *_: None) -> list[Fault]:
    """Compares every file of a kit with its manifest; nothing is unpacked.

    Args:
        kit: The tar.
        progress: Is told each file before it is read.

    Raises:
        KitError: It cannot be read, or is no kit.
    """
    try:
        with tarfile.open(kit) as tar:
            sums = _sums(tar)
            return list(_faults(tar, sums, progress))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise KitError(f"{kit} cannot be read: {error}.") from error


def _faults(tar: tarfile.TarFile, sums: Mapping[str, str], progress: Progress) -> Iterator[Fault]:
    missing = dict(sums)
    for number, entry in enumerate(tar):
        progress(entry.name, number, len(sums) + 1)
        if entry.name == MANIFEST and number == 0:
            continue
        if entry.name not in sums:
            yield Fault(entry.name, "is not in the manifest")
        elif missing.pop(entry.name, None) is None:
            yield Fault(entry.name, "is there twice")
        elif not entry.isreg() or _entry_sha256(tar, entry) != sums[entry.name]:
            yield Fault(entry.name, "was changed: its sha256 is not that of the manifest")
    for name in missing:
        yield Fault(name, "is missing")


def _sums(tar: tarfile.TarFile) -> dict[str, str]:
    """Reads the manifest, which is the first file.

    Raises:
        KitError: It is not, or of another form.
    """
    first = tar.next()
    file = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    try:
        text = file.read(MAX_MANIFEST_BYTES) if file is not None else b""
        manifest: dict[str, Any] = json.loads(text)
        if manifest["schema"] != SCHEMA:
            raise KitError(
                f"The kit is of the form {manifest['schema']}; this version reads {SCHEMA}.",
                "Check it with the version that wrote it.",
            )
        return {str(name): str(sha256) for name, sha256 in manifest["files"].items()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise KitError("There is no manifest: this is no kit, or a damaged one.") from error


def _manifest(sums: Mapping[str, str]) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "sightbox": sightbox.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "implementation": platform.python_implementation(),
        "platform": sysconfig.get_platform(),
        "files": dict(sorted(sums.items())),
    }


def _script(name: str) -> bytes:
    # In the package they are data, for no tool to run or to read as its code.
    return files("sightbox").joinpath("data", "kit", f"{name}.txt").read_bytes()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    """Returns a header without owner, time or machine in it; tarfile's default mode is 0644."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry_sha256(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    found, file = hashlib.sha256(), tar.extractfile(entry)
    while file is not None and (block := file.read(BLOCK)):
        found.update(block)
    return found.hexdigest()
