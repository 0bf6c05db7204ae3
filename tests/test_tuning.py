"""The choice by measurement: real classifiers, tiny efforts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commandline import run
from sightbox import quantization
from sightbox import tuning as subject
from sightbox.backends import Arrays, Pixels
from sightbox.backends.openvino import OpenVinoBackend
from sightbox.catalogue import EMBEDDED
from sightbox.classifier import Classifier
from sightbox.cli import tune as command
from sightbox.errors import BackendError, ModelError
from sightbox.model import Model
from sightbox.plan import FOLDER, MAX_BATCH, advice, load_tuning
from sightbox.schema import Json
from sightbox.store import Store
from sightbox.tuning import FULL, QUICK, Effort, tune

TINY = Effort(("onnxruntime", "openvino"), 0.01, 1, (1,), 1)


@pytest.fixture
def store(home: Path, tmp_path: Path) -> Store:
    """A home of its own with the embedded model."""
    shutil.copytree(home / "models" / EMBEDDED, tmp_path / "models" / EMBEDDED)
    return Store(tmp_path)


def test_plans_are_measured_kept_and_used(store: Store) -> None:
    model = store.open()
    steps: list[tuple[str, int, int]] = []
    tuning = tune(store, model, TINY, lambda *step: steps.append(step))
    assert load_tuning(model) == tuning
    assert advice(model) is None
    assert all(row.problem is None and row.speed("latency") > 0 for row in tuning.rows)
    assert {row.plan.backend for row in tuning.rows} == {"onnxruntime", "openvino"}
    assert {row.plan.max_batch for row in tuning.rows} == {1, MAX_BATCH}
    assert len(steps) > len(tuning.rows), "finalists are measured again"
    assert all(0 <= done < total for _, done, total in steps)
    best = tuning.best("throughput", 1)
    assert best is not None
    with Classifier(home=store.home) as classifier:
        assert classifier.plan == best.plan


@pytest.mark.parametrize("installed", [True, False])
def test_pytorch_is_measured_only_in_full_and_only_where_it_is_installed(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, installed: bool
) -> None:
    assert "pytorch" not in QUICK.backends
    assert "pytorch" in FULL.backends
    monkeypatch.setattr(subject, "find_spec", lambda name: installed or name != "torch" or None)
    tuning = tune(store, store.open(), replace(TINY, backends=("onnxruntime", "pytorch")))
    rows = [row for row in tuning.rows if row.plan.backend == "pytorch"]
    assert bool(rows) == installed
    # torchvision has not the embedded network: that is a row with its reason, and never chosen.
    assert all("torchvision has no network" in str(row.problem) for row in rows)


def test_wrong_answers_cannot_win(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: OpenVinoBackend, images: Pixels, outputs: object = None) -> Arrays:
        return {"logits": np.eye(1000, dtype=np.float32)[: len(images)] * 30}

    monkeypatch.setattr(OpenVinoBackend, "run", wrong)
    tuning = tune(store, store.open(), TINY)
    problems = {row.plan.backend: row.problem for row in tuning.rows}
    assert "another" in str(problems["openvino"])
    best = tuning.best("throughput", 0)
    assert best is not None
    assert best.plan.backend == "onnxruntime"


def test_engine_that_does_not_start_is_a_row_with_its_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BackendError("It does not start.")

    monkeypatch.setattr(OpenVinoBackend, "load", refuse)
    rows = tune(store, store.open(), TINY).rows
    assert {row.problem for row in rows if row.plan.backend == "openvino"} == {"It does not start."}


@pytest.mark.usefixtures("no_leaked_threads")
def test_interrupted_measuring_leaves_nothing(store: Store) -> None:
    def interrupt(_: str, done: int, __: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(store, store.open(), TINY, interrupt)
    assert not (store.models / EMBEDDED / FOLDER).exists()


def test_model_in_memory_cannot_be_measured(store: Store) -> None:
    model = store.open()
    with pytest.raises(ModelError, match="home that can be written"):
        tune(store, Model(model.card, None, {}), TINY)


def test_folder_that_cannot_be_written_is_told(store: Store) -> None:
    (store.models / EMBEDDED / FOLDER).touch()
    with pytest.raises(ModelError, match="cannot be written"):
        tune(store, store.open(), TINY)


def test_command_makes_what_is_missing_and_shows_the_table(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, number in (("CALIBRATING", 2), ("COMPARED", 20), ("FEWEST", 4)):
        monkeypatch.setattr(quantization, name, number)
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setenv("SIGHTBOX_HOME", str(store.home))
    command.run(None, full=False)
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert any("openvino int8" in cells[-1] for cells in lines)
    assert sum("throughput" in cells[3] for cells in lines) == 1
    assert sum("latency" in cells[3] for cells in lines) == 1
    assert {"int8.json", "model.int8.onnx"} < set(store.open().card.files)
    table: list[Json] = _info(store)["tuning"]
    assert len(table) == len(lines)
    assert run("classify", "--exact", "--variant", "int8", "x.jpg")[0] == 2


def _info(store: Store) -> Json:
    code, out, _ = run("info", "--json", env={"SIGHTBOX_HOME": str(store.home)})
    assert code == 0
    found: Json = json.loads(out)
    return found
