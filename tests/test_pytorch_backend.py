"""The PyTorch backend on the processor; devices that are absent are chosen and refused only."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from reference.seeded import model_of, noise, seeded_resnet18
from sightbox.backends import Backend
from sightbox.backends.onnxruntime import OnnxRuntimeBackend
from sightbox.backends.pytorch import DEVICES, PyTorchBackend, choose_device
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.model import Model
from sightbox.store import Store

OUTPUTS = ("logits", "features", "maps")

MADE: dict[str, Callable[..., PyTorchBackend]] = {
    "eager": PyTorchBackend,
    "eager with gradients": partial(PyTorchBackend, inference_mode=False),
    "eager, channels first": partial(PyTorchBackend, channels_last=False),
    "script": partial(PyTorchBackend, mode="script"),
    "trace": partial(PyTorchBackend, mode="trace"),
}


@pytest.fixture(scope="module")
def model() -> Model:
    """A small ResNet-18 with seeded weights."""
    return model_of(seeded_resnet18())


@pytest.fixture(scope="module", params=MADE)
def backend(request: pytest.FixtureRequest, model: Model) -> Iterator[Backend]:
    """The network in each mode but ``compile``."""
    made = MADE[request.param](device="cpu")
    # More threads of torch's would be more for each thread that calls it here.
    made.load(model, 1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def exact(model: Model) -> Backend:
    """The same network in ONNX Runtime."""
    made = OnnxRuntimeBackend()
    made.load(model, 2)
    return made


def _off(backend: Backend, exact: Backend, images: np.ndarray) -> float:
    """Returns the largest difference of the logits, as a part of their range."""
    ours, theirs = (engine.run(images)["logits"] for engine in (backend, exact))
    return float(np.abs(ours - theirs).max() / np.ptp(theirs))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_mode_equals_onnxruntime(
    backend: Backend, exact: Backend, model: Model, count: int
) -> None:
    images = noise(model, count)
    ours, theirs = (engine.run(images, OUTPUTS) for engine in (backend, exact))
    for name in OUTPUTS:
        assert ours[name].dtype == np.float32
        assert ours[name].shape == theirs[name].shape
        assert ours[name].flags.c_contiguous
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-3


def test_compiled_network_equals_onnxruntime(
    model: Model, exact: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's capture alone: its code generator takes a minute and needs a C++ compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    backend = PyTorchBackend("cpu", "compile")
    backend.load(model, 1)
    assert _off(backend, exact, noise(model, 3)) <= 1e-4


@pytest.mark.parametrize("backend", ["eager", "trace"], indirect=True)
def test_threads_each_get_their_own_answer(backend: Backend, model: Model) -> None:
    batches = [noise(model, 1 + number % 3, seed=number) for number in range(8)]
    expected = [backend.run(images)["logits"] for images in batches]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            logits = backend.run(batches[number])["logits"]
            if np.abs(logits - expected[number]).max() > 1e-4:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_pictures_may_be_read_only_and_answers_are_the_callers(model: Model) -> None:
    backend = PyTorchBackend("cpu")
    backend.load(model, 1)
    images = noise(model, 4)
    images.setflags(write=False)
    first = backend.run(images[::2])["logits"]
    before = first.copy()
    backend.run(images[1::2])
    assert np.array_equal(first, before)
    first[:] = 0
    assert np.array_equal(backend.run(images[::2])["logits"], before)


def test_inference_mode_leaves_gradients_out(model: Model) -> None:
    for inference in (True, False):
        backend = PyTorchBackend("cpu", inference_mode=inference)
        backend.load(model, 1)
        assert backend._network is not None
        logits, *_ = backend._network(torch.from_numpy(noise(model, 1)))
        assert logits.is_inference() == inference
        assert logits.requires_grad != inference


@pytest.mark.parametrize("mode", ["eager", "script", "trace"])
def test_bf16_is_close_and_not_the_same(model: Model, exact: Backend, mode: str) -> None:
    backend = PyTorchBackend("cpu", mode)
    backend.load(model, 1, "bf16")
    assert backend.variant == "bf16"
    assert 1e-4 < _off(backend, exact, noise(model, 8)) < 0.02


def test_threads_are_set(model: Model) -> None:
    for threads in (1, 2):
        PyTorchBackend("cpu").load(model, threads)
        assert torch.get_num_threads() == threads


def test_exact_convolutions_are_not_rounded_on_a_gpu(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    PyTorchBackend("cpu").load(model, 1)
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("made", "variant", "told"),
    [
        (PyTorchBackend("cpu"), "int8", "no variant 'int8'. It has fp32, bf16, fp16"),
        (PyTorchBackend("cpu"), "fp16", "fp16 is for cuda and mps"),
        (PyTorchBackend("cpu", "fast"), "fp32", "no mode 'fast'. It has eager, script"),
        (PyTorchBackend("tpu"), "fp32", "no device 'tpu'. There are cuda, mps, cpu and auto"),
    ],
)
def test_what_there_is_not_is_refused(
    model: Model, made: PyTorchBackend, variant: str, told: str
) -> None:
    with pytest.raises(BackendNotAvailableError, match=told):
        made.load(model, 1, variant)


def test_network_that_torchvision_has_not_is_refused(home: Path) -> None:
    with pytest.raises(BackendNotAvailableError, match="torchvision has no network eff") as caught:
        PyTorchBackend("cpu").load(Store(home).open("efficientnet-lite0"), 1)
    assert "another backend" in caught.value.hint


@pytest.mark.parametrize(
    ("here", "wanted", "chosen"),
    [
        ({"cuda", "mps", "cpu"}, "auto", "cuda"),
        ({"mps", "cpu"}, "auto", "mps"),
        ({"cpu"}, "auto", "cpu"),
        ({"cuda", "cpu"}, "cpu", "cpu"),
        ({"cuda", "cpu"}, "cuda", "cuda"),
    ],
)
def test_device_is_chosen(
    monkeypatch: pytest.MonkeyPatch, here: set[str], wanted: str, chosen: str
) -> None:
    for device in DEVICES:
        monkeypatch.setitem(DEVICES, device, partial(here.__contains__, device))
    assert choose_device(wanted) == chosen


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_absent_device_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setitem(DEVICES, device, lambda: False)
    with pytest.raises(
        BackendNotAvailableError, match=f"no device '{device}' here. It finds .*cpu"
    ):
        PyTorchBackend(device).load(model, 1)


def test_transformed_network_that_answers_otherwise_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: torch.nn.Module, **_: object) -> object:
        return lambda batch: tuple(output * 1.01 for output in network(batch))

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(BackendError, match=r"mode compile changes the logits by 0\.\d%"):
        PyTorchBackend("cpu", "compile").load(model, 1)


def test_weights_that_do_not_fit_are_a_backend_error(model: Model) -> None:
    other = replace(model, card=replace(model.card, classes=7))
    with pytest.raises(BackendError, match=r"refuses resnet18: .*\s*size mismatch for fc"):
        PyTorchBackend("cpu").load(other, 1)


def test_backend_that_is_not_loaded_or_closed_says_so(model: Model) -> None:
    backend = PyTorchBackend("cpu")
    with pytest.raises(BackendError, match="not loaded"):
        backend.run(noise(model, 1))
    backend.load(model, 1)
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="not loaded"):
        backend.run(noise(model, 1))


def test_unknown_output_is_a_backend_error(model: Model) -> None:
    backend = PyTorchBackend("cpu")
    backend.load(model, 1)
    with pytest.raises(BackendError, match="no output 'nope'"):
        backend.run(noise(model, 1), ("logits", "nope"))


def test_pictures_of_a_wrong_shape_are_a_backend_error(model: Model) -> None:
    backend = PyTorchBackend("cpu")
    backend.load(model, 1)
    with pytest.raises(BackendError, match="PyTorch failed"):
        backend.run(np.zeros((1, 40, 40, 4), np.uint8))
