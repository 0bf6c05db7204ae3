"""A copied package with a RECORD beside it, as a wheel's installation has."""

import base64
import hashlib
import shutil
from importlib.metadata import PathDistribution
from pathlib import Path

from sightbox.integrity import PACKAGE


def copy_package(site: Path) -> Path:
    """Copies the package into a folder for packages, and returns its own."""
    target = site / "sightbox"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def record(package: Path) -> PathDistribution:
    """Writes what an installer would beside a copied package."""
    info = package.parent / "sightbox-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: sightbox\nVersion: 0.1.0\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "INSTALLER").write_text("pip\n")
    files = [path for folder in (package, info) for path in folder.rglob("*") if path.is_file()]
    rows = [f"{path.relative_to(package.parent)},{_digest(path)}," for path in sorted(files)]
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,"]) + "\n")
    return PathDistribution(info)


def _digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
