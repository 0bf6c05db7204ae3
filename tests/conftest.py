"""Real parts for the tests: a prepared home, classifiers, servers on real ports, photos."""

import ipaddress
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from serving import serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.settings_table import PREFIX
from sightbox.store import Store

PHOTOS = Path(skimage.__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"

# Tests that load ONNX Runtime by themselves must not send usage data either: the audit hook below
# sees no native sockets. tests/test_telemetry.py runs without this variable.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def _refuse_other_machines(event: str, arguments: tuple[object, ...]) -> None:
    """Lets sockets reach this machine alone, in every test (an audit hook, PEP 578)."""
    if event != "socket.connect":
        return
    address = arguments[1]
    if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
        raise PermissionError(f"A test tried to reach {address[0]}.")


sys.addaudithook(_refuse_other_machines)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the embedded model, prepared once."""
    folder = tmp_path_factory.mktemp("home")
    Store(folder).prepare_embedded()
    return folder


@pytest.fixture(autouse=True)
def environment(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test the prepared home and no settings of the person who runs it."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    settings = tmp_path / "sightbox.toml"
    settings.touch()
    monkeypatch.setenv(f"{PREFIX}CONFIG", str(settings))
    monkeypatch.setenv(f"{PREFIX}HOME", str(home))


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fails a test that leaves a thread of ours behind."""
    before = set(threading.enumerate())
    yield
    left = {t.name for t in set(threading.enumerate()) - before if t.name.startswith("sightbox")}
    assert not left


@pytest.fixture(scope="session")
def classifier(home: Path) -> Iterator[Classifier]:
    """The embedded model on the default backend."""
    with Classifier(home=home) as made:
        yield made


@pytest.fixture
def dummy(home: Path) -> Iterator[Classifier]:
    """The dummy backend under the embedded model's card."""
    with Classifier(backend=DummyBackend(), home=home) as made:
        yield made


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The dummy backend, served with the settings' defaults for all tests of a module."""
    with Classifier(backend=DummyBackend(), home=home) as made, serving(made, home=home) as served:
        yield served


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder with scikit-image's photos: chelsea.png, coffee.png, rocket.jpg."""
    return PHOTOS


@pytest.fixture(scope="session")
def cat(photos: Path) -> bytes:
    """A photo of a cat, as a file."""
    return (photos / "chelsea.png").read_bytes()


@pytest.fixture(scope="session")
def shared_photos() -> Path:
    """The folder with 200 labelled photos; skips where it is absent."""
    folder = SHARED / "photos"
    if not folder.is_dir():
        pytest.skip("the 200 labelled photos are not here")
    return folder


@pytest.fixture(scope="session")
def gradient() -> Image.Image:
    """A drawn RGB picture, 320 x 240."""
    rows, columns = np.mgrid[0:240, 0:320]
    pixels = np.stack([columns * 255 // 319, rows * 255 // 239, (rows + columns) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))
