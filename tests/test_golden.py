"""All backends give the golden answers: fp32 within a tolerance, the others by agreement."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference.golden import computed_logits, golden_logits, golden_pictures
from reference.seeded import SIDE, model_of, seeded_resnet18
from sightbox.backends import Backend
from sightbox.backends.onnxruntime import OnnxRuntimeBackend
from sightbox.backends.openvino import OpenVinoBackend
from sightbox.backends.pytorch import PyTorchBackend
from sightbox.drawing import calibration_pictures
from sightbox.machine import BF16_SETS, instruction_sets
from sightbox.model import GRAPH, Model
from sightbox.preprocessing import prepare
from sightbox.quantization import quantize
from sightbox.store import Store

TOLERANCE = 1e-3
"""Largest difference of a logit in fp32."""

LEAST_AGREEMENT = 0.97
"""Part of the pictures whose class is the golden one, in the other precisions."""

CLEAR = 0.1
"""Lead of a class, in logits, below which a picture is a tie for a network that knows nothing."""

EXACT: dict[str, Callable[[], Backend]] = {
    "onnxruntime": OnnxRuntimeBackend,
    "onnxruntime, bound": partial(OnnxRuntimeBackend, bound=True),
    "openvino": OpenVinoBackend,
    "openvino, auto": partial(OpenVinoBackend, device="AUTO"),
    "pytorch eager": partial(PyTorchBackend, "cpu"),
    "pytorch script": partial(PyTorchBackend, "cpu", "script"),
    "pytorch trace": partial(PyTorchBackend, "cpu", "trace"),
    "pytorch compile": partial(PyTorchBackend, "cpu", "compile"),
}

OTHERS: dict[str, tuple[Callable[[], Backend], str]] = {
    "onnxruntime int8": (OnnxRuntimeBackend, "int8"),
    "onnxruntime int8, bound": (partial(OnnxRuntimeBackend, bound=True), "int8"),
    "openvino int8": (OpenVinoBackend, "int8"),
    "openvino bf16": (OpenVinoBackend, "bf16"),
    "pytorch bf16": (partial(PyTorchBackend, "cpu"), "bf16"),
}


@pytest.fixture(scope="module")
def model() -> Model:
    """The ResNet-18 with seeded weights, and its int8 variant."""
    network = seeded_resnet18()
    exact = model_of(network).read(GRAPH)
    int8 = quantize(exact, calibration_pictures(20, SIDE, seed=6))
    return model_of(network, **{"model.int8.onnx": int8})


def test_golden_file_is_what_torchvision_computes() -> None:
    np.testing.assert_allclose(golden_logits(), computed_logits(), atol=1e-5)


@pytest.mark.parametrize("name", EXACT)
def test_exact_answers_are_golden(name: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's code generator takes a minute and needs a C++ compiler; its capture alone is tried.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    backend = EXACT[name]()
    backend.load(model, 1)
    logits = backend.run(golden_pictures())["logits"]
    backend.close()
    assert np.abs(logits - golden_logits()).max() <= TOLERANCE


@pytest.mark.parametrize("name", OTHERS)
def test_other_precisions_agree_with_the_golden_answers(name: str, model: Model) -> None:
    make, variant = OTHERS[name]
    if name == "openvino bf16" and not BF16_SETS & set(instruction_sets()):
        pytest.skip("this processor does not compute in bf16")
    backend = make()
    backend.load(model, 1, variant)
    logits = backend.run(golden_pictures())["logits"]
    backend.close()
    # Seeded weights favour one class throughout: what differs is how far each is above its mean.
    golden = golden_logits()
    usual = golden.mean(0)
    first, second = np.sort(golden - usual)[:, :-3:-1].T
    clear = first - second >= CLEAR
    assert clear.sum() >= 20
    same = (logits - usual).argmax(1) == (golden - usual).argmax(1)
    assert same[clear].mean() >= LEAST_AGREEMENT
    assert np.abs(logits - golden).max() > TOLERANCE, "it is not the exact network"


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime, bound", "openvino"])
def test_embedded_model_gives_the_golden_answers_to_photos(
    name: str, home: Path, shared_photos: Path
) -> None:
    reference = np.load(shared_photos.parent / "reference" / "efficientnet_lite0_logits.npz")
    model = Store(home).open()
    photos = slice(0, None, 10)
    pictures = []
    for file in reference["names"][photos]:
        with Image.open(shared_photos / str(file)) as photo:
            pictures.append(prepare(photo.convert("RGB"), model.card.recipe))
    backend = EXACT[name]()
    backend.load(model, 2)
    logits = backend.run(np.stack(pictures))["logits"]
    backend.close()
    assert np.abs(logits - reference["logits"][photos]).max() <= TOLERANCE
