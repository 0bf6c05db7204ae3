"""Whether the installed package is as it was published: its data files, and what its wheel brought.

``data/manifest.json`` has the sha256 of every file of the package that is no Python, and of each
line of the label files, so that a wrong one can be named. It guards against damage and mistakes:
who can change the files can change the manifest too.
"""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import sightbox

PACKAGE = Path(sightbox.__file__).parent

MANIFEST = "data/manifest.json"

LABELS = "data/labels/"
"""Where the files are whose lines are named, too."""

LINE_DIGITS = 8
"""Digits of a line's sha256 that are kept: a wrong line goes unnamed once in four thousand million
times, and the whole file's sha256 tells even then."""


@dataclass(frozen=True)
class File:
    """What was found of one file: its name in the package, and what is wrong, or None."""

    name: str
    problem: str | None


def data_files(package: Path = PACKAGE) -> list[str]:
    """Returns the names of all files of the package but Python's and the manifest, sorted."""
    names = (
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".py"
    )
    return sorted(name for name in names if name != MANIFEST)


def manifest_text(package: Path = PACKAGE) -> str:
    """Returns the manifest for the files as they are, as JSON text."""
    names = data_files(package)
    contents = {name: (package / name).read_bytes() for name in names}
    manifest = {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "lines": {
            name: " ".join(_line_digests(content))
            for name, content in contents.items()
            if name.startswith(LABELS)
        },
    }
    return json.dumps(manifest, indent=1) + "\n"


def check_data(package: Path = PACKAGE) -> Iterator[File]:
    """Compares every data file of the package with the manifest."""
    try:
        manifest = json.loads((package / MANIFEST).read_bytes())
        expected, lines = dict(manifest["files"]), dict(manifest["lines"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        yield File(MANIFEST, f"cannot be read: {error}")
        return
    for name, sha256 in expected.items():
        yield File(name, _data_problem(package / name, sha256, lines.get(name)))
    for name in data_files(package):
        if name not in expected:
            yield File(name, "is not in the manifest")


def wheel_record(package: Path = PACKAGE) -> Distribution | None:
    """Returns the installation that the package is part of; None where it came from no wheel.

    An editable installation has a wheel too, but one without the package.
    """
    try:
        found = distribution("sightbox")
    except PackageNotFoundError:
        return None
    init = found.locate_file(f"{package.name}/__init__.py")
    listed = f"{package.name}/__init__.py" in (found.read_text("RECORD") or "")
    return found if listed and Path(str(init)).resolve() == package / "__init__.py" else None


def check_record(found: Distribution, package: Path = PACKAGE) -> Iterator[File]:
    """Compares every file of an installation with its RECORD.

    Source: PyPA, "Recording installed projects".
    Files without a digest there, as RECORD itself, must be there; those of the package's folder
    that it does not list are told.
    """
    listed = set()
    for name, digest, *_ in csv.reader(io.StringIO(found.read_text("RECORD") or "")):
        path = Path(str(found.locate_file(name))).resolve()
        listed.add(path)
        if path.suffix != ".pyc":
            yield File(name, _record_problem(path, digest))
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.resolve() not in listed:
            yield File(path.relative_to(package.parent).as_posix(), "is not in RECORD")


def _data_problem(path: Path, sha256: str, lines: Any) -> str | None:  # noqa: ANN401 - JSON
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if hashlib.sha256(content).hexdigest() == sha256:
        return None
    return "was changed" + (_wrong_line(content, str(lines).split()) if lines else "")


def _wrong_line(content: bytes, expected: list[str]) -> str:
    """Returns where a file differs first, in words."""
    found = _line_digests(content)
    if len(found) != len(expected):
        return f": it has {len(found)} lines instead of {len(expected)}"
    pairs = enumerate(zip(found, expected, strict=True), 1)
    wrong = [number for number, (one, other) in pairs if one != other]
    if not wrong:
        return ""
    line = content.splitlines()[wrong[0] - 1].decode(errors="replace").strip().rstrip(",")
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f": line {wrong[0]} is {line}{more}"


def _line_digests(content: bytes) -> list[str]:
    return [hashlib.sha256(line).hexdigest()[:LINE_DIGITS] for line in content.splitlines()]


def _record_problem(path: Path, digest: str) -> str | None:
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    algorithm, _, expected = digest.partition("=")
    if not algorithm:
        return None
    if algorithm not in hashlib.algorithms_available:
        return f"has a digest of the unknown kind {algorithm}"
    found = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=")
    return None if found.decode() == expected else "was changed: its digest is not that of RECORD"
