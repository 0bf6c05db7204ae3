"""Compiled networks that are kept: whole and fitting, or compiled anew."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from reference.seeded import model_of, noise, seeded_resnet18
from sightbox.backends import openvino
from sightbox.backends.blobs import BlobFolder
from sightbox.backends.openvino import CACHE, OpenVinoBackend
from sightbox.model import Model, write_model

BLOB = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def model() -> Model:
    """A small ResNet-18."""
    return model_of(seeded_resnet18())


def _compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list that names each form of a network when it is compiled."""
    forms: list[str] = []
    original = openvino._Network._compile

    def compile_(network: openvino._Network, form: openvino._Form) -> object:
        forms.append(form.name)
        return original(network, form)

    monkeypatch.setattr(openvino._Network, "_compile", compile_)
    return forms


def _logits(folder: Path | None, model: Model, count: int = 1) -> np.ndarray:
    backend = OpenVinoBackend(folder)
    backend.load(model, 2)
    logits = backend.run(noise(model, count))["logits"]
    backend.close()
    return logits


def test_blob_comes_back_for_its_circumstances_alone(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path / "a")
    assert folder.read("x.blob", "here") is None
    folder.write("x.blob", "here", BLOB)
    assert folder.read("x.blob", "here") == BLOB
    assert folder.read("x.blob", "there") is None
    assert folder.read("y.blob", "here") is None
    folder.write("x.blob", "there", BLOB[:10])
    assert folder.read("x.blob", "there") == BLOB[:10]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.blob"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda _content: b"",
        lambda content: content[:31],
        lambda content: content[:32],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:5000] + bytes([content[5000] ^ 128]) + content[5001:],
    ],
)
def test_damaged_blob_is_none(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = BlobFolder(tmp_path)
    folder.write("x.blob", "here", BLOB)
    path = tmp_path / "x.blob"
    path.write_bytes(damage(path.read_bytes()))
    assert folder.read("x.blob", "here") is None


def test_reader_never_sees_half_a_blob(tmp_path: Path) -> None:
    folder = BlobFolder(tmp_path / "cache")
    folder.write("x.blob", "here", BLOB)
    done = threading.Event()

    def write(letter: bytes) -> None:
        while not done.is_set():
            folder.write("x.blob", "here", letter * 300_000)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    seen = [folder.read("x.blob", "here") for _ in range(200)]
    done.set()
    for writer in writers:
        writer.join()
    assert set(seen) <= {BLOB, b"a" * 300_000, b"b" * 300_000}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["x.blob"]


def test_folder_that_cannot_be_written_keeps_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    forms = _compiled(monkeypatch)
    for _ in range(2):
        assert _logits(tmp_path / "file" / "cache", model).shape == (1, 10)
    assert forms == ["one", "any"] * 2


def test_networks_are_kept_with_the_model(model: Model, tmp_path: Path) -> None:
    written = write_model(model, tmp_path)
    assert written.folder is not None
    _logits(None, written)
    kept = sorted(path.name for path in (written.folder / CACHE).iterdir())
    assert kept == ["resnet18.fp32.any.CPU.blob", "resnet18.fp32.one.CPU.blob"]


def test_folder_of_a_removed_model_is_not_made_again(model: Model, tmp_path: Path) -> None:
    written = write_model(model, tmp_path)
    assert written.folder is not None
    shutil.rmtree(written.folder)
    BlobFolder(written.folder / CACHE).write("x.blob", "here", BLOB)
    assert not written.folder.exists()


def test_second_start_compiles_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = _compiled(monkeypatch)
    first = [_logits(tmp_path, model, count) for count in (1, 3)]
    assert forms == ["one", "any"]
    second = [_logits(tmp_path, model, count) for count in (1, 3)]
    assert forms == ["one", "any"]
    assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(first, second, strict=True))


def test_choice_of_the_processor_alone_uses_its_blobs(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _logits(tmp_path, model)
    forms = _compiled(monkeypatch)
    for device in ("AUTO", "AUTO:CPU"):
        backend = OpenVinoBackend(tmp_path, device)
        backend.load(model, 2)
        assert backend.run(noise(model, 1))["logits"].shape == (1, 10)
    assert not forms


def test_damaged_and_foreign_blobs_are_compiled_anew(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    expected = _logits(folder, model)
    path = folder / "resnet18.fp32.one.CPU.blob"
    whole = path.read_bytes()
    forms = _compiled(monkeypatch)
    middle = len(whole) // 2
    for content in (whole[:middle], whole[:middle] + bytes(64) + whole[middle + 64 :]):
        path.write_bytes(content)
        assert np.abs(_logits(folder, model) - expected).max() < 1e-5
        assert path.read_bytes() != content
    assert forms == ["one"] * 2
    monkeypatch.setattr(openvino, "instruction_sets", lambda: ("avx",))
    _logits(folder, model)
    assert forms == ["one", "one", "one", "any"]


def test_blob_that_openvino_refuses_is_compiled_anew(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _logits(tmp_path, model)
    forms = _compiled(monkeypatch)
    monkeypatch.setattr(BlobFolder, "read", lambda *_: b"no compiled network" * 100)
    assert np.abs(_logits(tmp_path, model) - expected).max() < 1e-5
    assert forms == ["one", "any"]


START = """
import sys
from pathlib import Path
import numpy as np
from sightbox.backends.openvino import CACHE, OpenVinoBackend
from sightbox.model import open_model
model = open_model(Path(sys.argv[1]))
backend = OpenVinoBackend(Path(sys.argv[2]))
backend.load(model, 1)
side = model.card.recipe.crop
logits = backend.run(np.zeros((1, side, side, 3), np.uint8))["logits"]
print(logits.round(3).tolist())
"""


def test_two_processes_may_start_at_once(model: Model, tmp_path: Path) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    models.mkdir()
    written = write_model(model, models)
    command = [sys.executable, "-c", START, str(written.folder), str(cache)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    answers = {start.communicate(timeout=60)[0] for start in starts}
    assert [start.returncode for start in starts] == [0, 0]
    assert len(answers) == 1
    kept = sorted(path.name for path in cache.iterdir())
    assert kept == ["resnet18.fp32.any.CPU.blob", "resnet18.fp32.one.CPU.blob"]
