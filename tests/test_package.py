"""The wheel, built and installed into an empty environment outside the repository."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"

pytestmark = pytest.mark.package

LARGEST_INSTALL = 450_000_000
"""What the installation without torch may add to an empty environment, in bytes."""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source package, as `make package` builds them."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    return folder


def test_wheel_holds_all_that_the_source_tree_does(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("sightbox/")}
    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "sightbox").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == source


def test_source_package_holds_tests_and_docs(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "NOTICE", "README.md", "tests/test_package.py", "docs/settings.md"} <= names


def test_installed_wheel_classifies_a_photo(dist: Path, photos: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    empty = _size(tmp_path / "env")
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint"]
    subprocess.run([python, *install, CONSTRAINTS, wheel], check=True, capture_output=True)
    shutil.copy(photos / "chelsea.png", tmp_path / "cat.png")
    environment = os.environ | {"SIGHTBOX_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "sightbox", "classify", "cat.png", "--json"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    answer = json.loads(done.stdout)["results"][0]
    assert "cat" in answer["predictions"][0]["label"]["en"]
    assert answer["model"]["name"] == "efficientnet-lite0"
    size = _size(tmp_path / "env") - empty
    assert size <= LARGEST_INSTALL, f"{size:,} bytes"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
