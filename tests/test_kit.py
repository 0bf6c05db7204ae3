"""The offline kit: whole or not there, the same bytes each time, and every change is named.

tests/test_package.py installs a real one.
"""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from commandline import run
from installing import copy_package, record
from sightbox.errors import KitError
from sightbox.kit import MANIFEST, SUMS, Fault, check_kit, write_kit
from sightbox.wheels import collect_wheels, repack

WHEEL = "wheels/colour-1.0-py3-none-any.whl"
MODEL = "models/small.zip"


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with wheels and one with models, which hold anything."""
    wheels, models = tmp_path / "wheels", tmp_path / "models"
    for folder, names in (
        (wheels, ("colour-1.0-py3-none-any.whl", "a.whl")),
        (models, ("small.zip",)),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(name.encode() * 1000)
    return wheels, models


@pytest.fixture
def kit(parts: tuple[Path, Path], tmp_path: Path) -> Path:
    """A small kit."""
    write_kit(*parts, tmp_path / "kit.tar")
    return tmp_path / "kit.tar"


@pytest.fixture
def unpacked(kit: Path, tmp_path: Path) -> Path:
    """The kit as it lies on the other machine."""
    folder = tmp_path / "unpacked"
    with tarfile.open(kit) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _pack(folder: Path, kit: Path, names: list[str]) -> Path:
    with tarfile.open(kit, "w") as tar:
        for name in names:
            tar.add(folder / name, name)
    return kit


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _check(folder: Path) -> tuple[int, str]:
    """Runs the kit's own check, which knows nothing of Sightbox."""
    command: list[str | Path] = [sys.executable, "-I", folder / "check.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_same_parts_give_the_same_bytes_in_the_same_order(
    parts: tuple[Path, Path], kit: Path, tmp_path: Path
) -> None:
    os.utime(parts[0] / "a.whl", (1, 1))
    digest = write_kit(*parts, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == kit.read_bytes()
    assert len(digest) == 64
    with tarfile.open(kit) as tar:
        names = tar.getnames()
    assert names == [MANIFEST, SUMS, "install.sh", "check.py", MODEL, "wheels/a.whl", WHEEL]


def test_kit_as_written_has_no_fault(kit: Path, unpacked: Path) -> None:
    assert check_kit(kit) == []
    assert _check(unpacked) == (0, "")
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=unpacked, check=True)
    assert run("kit", "--check", kit) == (0, f"{kit} is as it was written.\n", "")


def test_kit_that_cannot_be_written_leaves_nothing(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    def fail(name: str, *_: int) -> None:
        if name == WHEEL:
            raise OSError("full")

    (tmp_path / "out").mkdir()
    with pytest.raises(OSError, match="full"):
        write_kit(*parts, tmp_path / "out" / "kit.tar", fail)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", [WHEEL, MODEL, "install.sh", "check.py"])
def test_tampered_file_is_named(name: str, unpacked: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "kit.tar") as tar:
        names = tar.getnames()
    if name == "check.py":
        (unpacked / name).write_text((unpacked / name).read_text() + "\n")
    else:
        _flip_a_bit(unpacked / name)
    changed = "was changed: its sha256 is not that of the manifest"
    assert check_kit(_pack(unpacked, tmp_path / "bad.tar", names)) == [Fault(name, changed)]
    assert _check(unpacked) == (1, f"sightbox kit: {name} {changed}\n")
    code, output, _ = run("kit", "--check", tmp_path / "bad.tar")
    assert (code, output) == (1, f"{name}: {changed}\n")
    sums = ["sha256sum", "--check", "--quiet", SUMS]
    told = subprocess.run(sums, cwd=unpacked, capture_output=True, text=True, check=False)
    assert f"{name}: FAILED" in told.stdout


def test_missing_and_added_files_are_named(unpacked: Path, tmp_path: Path) -> None:
    """A wheel that nobody vouches for would be installed if it had the higher version."""
    (unpacked / "wheels" / "a.whl").unlink()
    (unpacked / "wheels" / "colour-9.0-py3-none-any.whl").touch()
    names = [MANIFEST, SUMS, "install.sh", "check.py", MODEL, WHEEL]
    bad = _pack(unpacked, tmp_path / "bad.tar", [*names, "wheels/colour-9.0-py3-none-any.whl"])
    assert check_kit(bad) == [
        Fault("wheels/colour-9.0-py3-none-any.whl", "is not in the manifest"),
        Fault("wheels/a.whl", "is missing"),
    ]
    code, told = _check(unpacked)
    assert code == 1
    assert "wheels/a.whl cannot be read: No such file" in told
    assert "wheels/colour-9.0-py3-none-any.whl is not in the manifest" in told


def test_file_that_is_there_twice_is_named(unpacked: Path, tmp_path: Path) -> None:
    names = [MANIFEST, SUMS, "install.sh", "check.py", MODEL, "wheels/a.whl", WHEEL, WHEEL]
    bad = _pack(unpacked, tmp_path / "bad.tar", names)
    assert check_kit(bad) == [Fault(WHEEL, "is there twice")]


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(10240)])
def test_what_is_no_kit_is_a_kit_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "kit.tar").write_bytes(content)
    with pytest.raises(KitError):
        check_kit(tmp_path / "kit.tar")


def test_truncated_kit_is_found(kit: Path, tmp_path: Path) -> None:
    content = kit.read_bytes()
    for length in range(512, len(content) - 1024, 4096):
        (tmp_path / "short.tar").write_bytes(content[:length])
        try:
            assert check_kit(tmp_path / "short.tar") != []
        except KitError:
            continue


def test_kit_for_another_python_or_machine_says_so(unpacked: Path) -> None:
    path = unpacked / MANIFEST
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"python": "3.99", "platform": "linux-vax"})
    )
    code, told = _check(unpacked)
    assert code == 1
    assert "this kit is for CPython 3.99" in told
    assert "this kit is for linux-vax" in told


def test_installing_refuses_a_tampered_wheel_before_anything_is_made(unpacked: Path) -> None:
    _flip_a_bit(unpacked / WHEEL)
    done = subprocess.run(
        ["sh", "install.sh", "box"],
        cwd=unpacked,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"{WHEEL} was changed" in done.stderr
    assert not (unpacked / "box").exists()


def test_installing_says_what_is_in_the_way(unpacked: Path) -> None:
    (unpacked / "box").mkdir()
    for target, python, told in (
        ("box", sys.executable, "is there already"),
        ("new", "no-python", "there is no no-python"),
    ):
        done = subprocess.run(
            ["sh", "install.sh", target],
            cwd=unpacked,
            env=os.environ | {"PYTHON": python},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert told in done.stderr


def test_installation_becomes_the_wheel_again(tmp_path: Path) -> None:
    package = copy_package(tmp_path / "site")
    installed = record(package)
    wheels = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        wheels.append(repack(installed, tmp_path / name, package))
    assert wheels[0].name == "sightbox-0.1.0-py3-none-any.whl"
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = set(wheel.namelist())
        assert wheel.read("sightbox/errors.py") == (package / "errors.py").read_bytes()
    assert {"sightbox-0.1.0.dist-info/RECORD", "sightbox/data/catalogue.json"} <= names
    assert "sightbox-0.1.0.dist-info/INSTALLER" not in names


def test_damaged_installation_becomes_no_wheel(tmp_path: Path) -> None:
    package = copy_package(tmp_path / "site")
    installed = record(package)
    (package / "errors.py").write_text("")
    with pytest.raises(KitError, match=r"errors\.py was changed"):
        repack(installed, tmp_path, package)


def test_index_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    code, output, error = run(
        "kit",
        tmp_path / "kit.tar",
        env=nowhere
        | {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""},
    )
    assert (code, output) == (1, "")
    assert "A wheel could not be had" in error
    assert "needs the package index" in error
    assert list(tmp_path.glob("*.tar")) == []
    assert list(tmp_path.glob(".kit*")) == []


def test_missing_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(KitError, match="python -m ensurepip"):
        collect_wheels(tmp_path)


def test_kit_into_a_missing_folder_is_told(tmp_path: Path) -> None:
    code, _, error = run("kit", tmp_path / "no" / "kit.tar")
    assert code == 1
    assert "There is no folder" in error
