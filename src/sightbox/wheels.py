"""The wheels of this installation: Sightbox itself, what it needs, and pip, for this platform.

Their versions are those that are installed here, so that what is carried away is what was verified.
"""

import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from sightbox.errors import DownloadError, KitError
from sightbox.integrity import PACKAGE, check_record, wheel_record

NOT_IN_A_WHEEL = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
"""Files of ``.dist-info`` that an installer writes (PyPA, "Recording installed projects")."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time of a zip: the same wheel is the same bytes."""


def collect_wheels(folder: Path) -> None:
    """Puts the wheels into a folder. pip asks the package index, or its cache.

    Args:
        folder: An empty folder.

    Raises:
        KitError: pip is not installed, or the package here cannot be made into a wheel.
        DownloadError: A wheel could not be had.
    """
    if find_spec("pip") is None:
        raise KitError("The kit needs pip, which is not installed.", "python -m ensurepip")
    source = PACKAGE.parents[1]
    installed = wheel_record()
    if installed is not None:
        own = repack(installed, folder)
    elif (source / "pyproject.toml").is_file():
        # With the build backend that is here, if it is, instead of one from the index.
        here = ["--no-build-isolation"] if find_spec("hatchling") is not None else []
        _pip("wheel", "--no-deps", *here, "--wheel-dir", str(folder), str(source))
        (own,) = folder.glob("sightbox-*.whl")
    else:
        raise KitError(
            f"{PACKAGE} was installed from no wheel and lies in no source tree.",
            "Install Sightbox with pip, or run the kit in its source tree.",
        )
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{line}\n" for line in sorted(_versions())))
    try:
        given = ["--wheel-dir", str(folder), "--constraint", str(constraints)]
        _pip("wheel", *given, str(own), "pip")
    finally:
        constraints.unlink()


def repack(installed: Distribution, folder: Path, package: Path = PACKAGE) -> Path:
    """Makes the wheel anew that an installation came from, and returns it.

    Args:
        installed: The installation.
        folder: Where the wheel goes.
        package: The package's folder in it.

    Raises:
        KitError: A file was changed since it was installed.
    """
    wrong = next((file for file in check_record(installed, package) if file.problem), None)
    if wrong is not None:
        raise KitError(f"{wrong.name} {wrong.problem}.", "Install Sightbox again.")
    rows = csv.reader(io.StringIO(installed.read_text("RECORD") or ""))
    names = [name for name, *_ in rows if _belongs_into_a_wheel(name)]
    contents = {name: Path(str(installed.locate_file(name))).read_bytes() for name in sorted(names)}
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        writer.writerow([name, f"sha256={digest}", len(content)])
    writer.writerow([f"{info}/RECORD", "", ""])
    contents[f"{info}/RECORD"] = record.getvalue().encode()
    target = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return target


def _belongs_into_a_wheel(name: str) -> bool:
    # Scripts are made by the installer, and lie outside: ../../../bin/sightbox.
    outside = name.startswith("..") or Path(name).is_absolute()
    compiled = "__pycache__" in name
    return not outside and not compiled and name.rpartition("/")[2] not in NOT_IN_A_WHEEL


def _versions() -> Iterator[str]:
    """Yields ``name==version`` of all that is installed but Sightbox."""
    for found in distributions():
        name = found.metadata["Name"]
        if name and name.lower() != "sightbox":
            yield f"{name}=={found.version}"


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (errors or done.stderr.splitlines() or ["pip failed"])[-1]
        raise DownloadError(
            f"A wheel could not be had: {reason.removeprefix('ERROR: ')}.",
            "The kit needs the package index, or its wheels in pip's cache, this once.",
        )
