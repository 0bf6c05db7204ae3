"""The int8 variant from the command line: made, measured, chosen."""

import json
import shutil
from pathlib import Path

import pytest

from commandline import run
from sightbox.agreement import Agreement
from sightbox.catalogue import EMBEDDED
from sightbox.classifier import Classifier
from sightbox.errors import ModelError


def test_variant_that_was_not_made_says_how_to_make_it(home: Path, photos: Path) -> None:
    with pytest.raises(ModelError, match="sightbox models optimize efficientnet-lite0"):
        Classifier(variant="int8", home=home)
    code, _, error = run("classify", photos / "coffee.png", "--variant", "int8")
    assert code == 1
    assert "has no variant 'int8' here" in error


def test_int8_is_made_measured_and_chosen(home: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    mine = {"SIGHTBOX_HOME": str(tmp_path / "home")}
    code, out, error = run("models", "optimize", env=mine)
    assert (code, error) == (0, "")
    assert "same first class as fp32" in out
    report = tmp_path / "home" / "models" / EMBEDDED / "int8.json"
    assert Agreement.from_json(report.read_bytes()).passes(0.97)
    for backend in ("onnxruntime", "openvino"):
        chosen = ("--variant", "int8", "--backend", backend)
        code, out, _ = run("classify", photos / "coffee.png", *chosen, "--json", env=mine)
        answer = json.loads(out)["results"][0]
        assert answer["model"] == {"name": EMBEDDED, "variant": "int8", "backend": backend}
        assert answer["predictions"][0]["label"]["en"] == "espresso"
    assert run("models", "verify", env=mine)[0] == 0


def test_too_few_pictures_are_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    shutil.copy(photos / "coffee.png", tmp_path / "few")
    code, _, error = run("models", "optimize", "--images", tmp_path / "few")
    assert code == 2
    assert "pictures" in error
