"""What every backend promises, and what ONNX Runtime and OpenVINO do beyond it."""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reference.seeded import CLASSES, model_of, noise, seeded_resnet18
from sightbox.backends import Arrays, Backend, create_backend
from sightbox.backends import onnxruntime as onnxruntime_backend
from sightbox.backends import openvino as openvino_backend
from sightbox.backends.onnxruntime import PROVIDERS, OnnxRuntimeBackend
from sightbox.backends.openvino import OpenVinoBackend
from sightbox.backends.openvino_devices import choose_devices, device_config
from sightbox.backends.telemetry import silenced
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.machine import BF16_SETS, instruction_sets
from sightbox.model import GRAPH, Model, seal
from sightbox.store import Store

with silenced():
    import onnxruntime as ort
    import openvino as ov
    from onnxruntime.quantization import quantize_static

OUTPUTS = ("logits", "features", "maps")
TOLERANCE = 1e-3
"""Largest difference between two backends in fp32."""

BACKENDS: dict[str, tuple[Callable[[], Backend], int]] = {
    "onnxruntime": (OnnxRuntimeBackend, 1),
    "onnxruntime with two streams": (OnnxRuntimeBackend, 2),
    "onnxruntime, bound": (partial(OnnxRuntimeBackend, bound=True), 1),
    "openvino": (OpenVinoBackend, 1),
    "openvino with two streams": (OpenVinoBackend, 2),
}


class _Pictures:
    """Gives one batch of noise to calibrate with."""

    def __init__(self, model: Model) -> None:
        self._batches = iter([{"images": noise(model, 4, seed=9)}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next batch."""
        return next(self._batches, None)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A small ResNet-18 with seeded weights, and its int8 variant."""
    network = seeded_resnet18()
    exact = model_of(network)
    folder = tmp_path_factory.mktemp("graphs")
    source, target = folder / "fp32.onnx", folder / "int8.onnx"
    source.write_bytes(exact.read(GRAPH))
    # Its advice, given to the root logger, is about graphs that are not ours.
    logging.disable(logging.WARNING)
    quantize_static(source, target, _Pictures(exact), per_channel=True)
    logging.disable(logging.NOTSET)
    return model_of(network, **{"model.int8.onnx": target.read_bytes()})


@pytest.fixture(scope="module")
def embedded(home: Path) -> Model:
    """The embedded model."""
    return Store(home).open()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn, not loaded."""
    create, _ = BACKENDS[request.param]
    made = create()
    yield made
    made.close()


@pytest.fixture(params=BACKENDS, scope="module")
def loaded(request: pytest.FixtureRequest, resnet: Model) -> Iterator[Backend]:
    """Each backend in turn, with the ResNet-18."""
    create, streams = BACKENDS[request.param]
    made = _loaded(create(), resnet, streams=streams)
    yield made
    made.close()


def _loaded(backend: Backend, model: Model, variant: str = "fp32", streams: int = 1) -> Backend:
    backend.load(model, 2, variant, streams)
    return backend


def _largest_difference(one: Arrays, other: Arrays) -> float:
    assert one.keys() == other.keys()
    assert all(one[name].shape == other[name].shape for name in one)
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


@pytest.mark.parametrize("name", ["embedded", "resnet"])
def test_backends_agree(name: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    reference, other = (_loaded(b, model) for b in (OnnxRuntimeBackend(), OpenVinoBackend()))
    for count in (1, 3, 8):
        images = noise(model, count)
        for outputs in (("logits",), OUTPUTS):
            expected = reference.run(images, outputs)
            assert all(len(array) == count for array in expected.values())
            assert all(array.dtype == np.float32 for array in expected.values())
            assert _largest_difference(expected, other.run(images, outputs)) <= TOLERANCE


def test_outputs_have_their_shapes(loaded: Backend, resnet: Model) -> None:
    arrays = loaded.run(noise(resnet, 2), OUTPUTS)
    assert [arrays[name].shape for name in OUTPUTS] == [(2, CLASSES), (2, 512), (2, 512, 2, 2)]
    np.testing.assert_allclose(arrays["maps"].mean((2, 3)), arrays["features"], atol=1e-5)


@pytest.mark.parametrize("made", [OnnxRuntimeBackend, OpenVinoBackend])
def test_int8_runs_its_own_graph(made: type[Backend], resnet: Model) -> None:
    images = noise(resnet, 8)
    exact = _loaded(OnnxRuntimeBackend(), resnet).run(images)["logits"]
    backend = _loaded(made(), resnet, "int8")
    assert backend.variant == "int8"
    off = np.abs(backend.run(images)["logits"] - exact).max() / np.ptp(exact)
    assert 1e-4 < off < 0.1


def test_bf16_is_close_and_not_the_same(resnet: Model) -> None:
    if not BF16_SETS & set(instruction_sets()):
        pytest.skip("this processor does not compute in bf16")
    images = noise(resnet, 8)
    exact = _loaded(OnnxRuntimeBackend(), resnet).run(images)["logits"]
    off = np.abs(_loaded(OpenVinoBackend(), resnet, "bf16").run(images)["logits"] - exact).max()
    assert 1e-4 < off / np.ptp(exact) < 0.02


def test_bf16_is_refused_where_the_processor_has_it_not(
    resnet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_backend, "instruction_sets", lambda: ("avx2", "avx512f"))
    with pytest.raises(BackendNotAvailableError, match="avx512_bf16 or amx_bf16"):
        OpenVinoBackend().load(resnet, 1, "bf16")


def test_threads_each_get_their_own_answer(loaded: Backend, resnet: Model) -> None:
    batches = [noise(resnet, 1 + number % 3, seed=number) for number in range(8)]
    expected = [loaded.run(images, OUTPUTS[: 1 + n % 2]) for n, images in enumerate(batches)]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            answer = loaded.run(batches[number], OUTPUTS[: 1 + number % 2])
            if _largest_difference(answer, expected[number]) > 1e-5:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not wrong
    differing = [
        _largest_difference({"": one["logits"][:1]}, {"": other["logits"][:1]})
        for one, other in pairwise(expected)
    ]
    assert min(differing) > 0.01


def test_answer_belongs_to_the_caller(loaded: Backend, resnet: Model) -> None:
    for count, outputs in ((1, ("logits",)), (2, ("logits",)), (2, OUTPUTS)):
        first = loaded.run(noise(resnet, count, seed=1), outputs)
        before = {name: array.copy() for name, array in first.items()}
        loaded.run(noise(resnet, count, seed=2), outputs)
        assert _largest_difference(first, before) == 0
        first["logits"][:] = 0
        again = loaded.run(noise(resnet, count, seed=1), outputs)
        assert _largest_difference(again, before) < 1e-5


def test_pictures_may_be_read_only_and_scattered(loaded: Backend, resnet: Model) -> None:
    images = noise(resnet, 4)
    expected = loaded.run(images[::2].copy())
    images.setflags(write=False)
    assert _largest_difference(loaded.run(images[::2]), expected) < 1e-5
    assert _largest_difference(loaded.run(images[:1]), {"logits": expected["logits"][:1]}) < 1e-4


def test_backend_that_is_not_loaded_or_closed_says_so(backend: Backend, resnet: Model) -> None:
    with pytest.raises(BackendError, match="not loaded"):
        backend.run(noise(resnet, 1))
    _loaded(backend, resnet).close()
    backend.close()
    with pytest.raises(BackendError, match="not loaded"):
        backend.run(noise(resnet, 1))
    assert _loaded(backend, resnet).run(noise(resnet, 1))


def test_pictures_of_a_wrong_size_are_a_backend_error(loaded: Backend, resnet: Model) -> None:
    for count in (1, 2):
        with pytest.raises(BackendError, match="failed"):
            loaded.run(np.zeros((count, 20, 20, 3), np.uint8))
        assert loaded.run(noise(resnet, count))


def test_unknown_output_and_variant_are_refused(backend: Backend, resnet: Model) -> None:
    with pytest.raises(BackendNotAvailableError, match="no variant 'int4'"):
        backend.load(resnet, 1, "int4")
    with pytest.raises(BackendError, match="nope"):
        _loaded(backend, resnet).run(noise(resnet, 1), ("logits", "nope"))


def test_damaged_graph_is_a_backend_error(backend: Backend, resnet: Model) -> None:
    whole = resnet.read(GRAPH)
    for graph in (b"nonsense", b"", whole[: len(whole) // 2]):
        with pytest.raises(BackendError, match=r"refuses resnet18: \w"):
            backend.load(seal(resnet.card, {GRAPH: graph}), 1)


def test_bound_buffers_are_kept_and_grow_to_the_largest_batch(resnet: Model) -> None:
    backend = OnnxRuntimeBackend(bound=True)
    backend.load(resnet, 1)
    bound = backend._network
    assert isinstance(bound, onnxruntime_backend._Bound)
    places = []
    for count in (2, 4, 1, 4):
        expected = _loaded(OnnxRuntimeBackend(), resnet).run(noise(resnet, count), OUTPUTS)
        assert _largest_difference(backend.run(noise(resnet, count), OUTPUTS), expected) < 1e-5
        (idle,) = bound._idle
        places.append({name: array.ctypes.data for name, array in idle._arrays.items()})
    assert places[1] == places[2] == places[3]
    assert [len(array) for array in idle._arrays.values()] == [4, 4, 4]


def test_bound_buffers_of_a_failed_call_are_dropped(resnet: Model) -> None:
    backend = OnnxRuntimeBackend(bound=True)
    backend.load(resnet, 1)
    bound = backend._network
    assert isinstance(bound, onnxruntime_backend._Bound)
    backend.run(noise(resnet, 1))
    assert len(bound._idle) == 1
    with pytest.raises(BackendError, match="ONNX Runtime failed: Got invalid dimensions"):
        backend.run(noise(resnet, 1)[:, 1:])
    assert not bound._idle
    assert backend.run(noise(resnet, 1))


def test_calls_are_bound_where_another_device_computes() -> None:
    for device, provider in onnxruntime_backend.PROVIDERS.items():
        assert onnxruntime_backend.create(device)._bound == (device != "cpu"), provider


@pytest.mark.parametrize("device", [name for name in PROVIDERS if name != "cpu"])
def test_device_that_the_build_lacks_is_refused_with_those_it_has(
    resnet: Model, device: str
) -> None:
    if PROVIDERS[device] in ort.get_available_providers():
        pytest.skip("this build has it")
    with pytest.raises(BackendNotAvailableError, match=f"has no {PROVIDERS[device]}") as caught:
        create_backend("onnxruntime", device).load(resnet, 1)
    assert "CPUExecutionProvider" in caught.value.hint


def test_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BackendNotAvailableError, match="no device 'tpu'") as caught:
        create_backend("onnxruntime", "tpu")
    assert caught.value.hint == "It can have cpu, cuda, tensorrt, coreml, openvino."


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("CPU", ("CPU",)),
        ("GPU", ("GPU",)),
        ("GPU.1", ("GPU.1",)),
        ("AUTO", ("CPU",)),
        ("AUTO:NPU", ("NPU",)),
        ("AUTO:GPU,CPU", ("GPU", "CPU")),
        ("AUTO:GPU.1,NPU,GPU.1", ("GPU.1", "NPU")),
    ],
)
def test_openvino_devices_are_those_that_are_named(wanted: str, chosen: tuple[str, ...]) -> None:
    assert choose_devices(wanted, ["CPU", "GPU.0", "GPU.1", "NPU"]) == chosen


@pytest.mark.parametrize(
    ("wanted", "absent"),
    [
        ("NPU.7", "'NPU.7'"),
        ("AUTO:XPU,CPU", "'XPU'"),
        ("AUTO:XPU,CPU,NPU.7", "'XPU', 'NPU.7'"),
        ("AUTO:", "''"),
        ("AUTO:-XPU", "'-XPU'"),
        ("MULTI:CPU", "'MULTI:CPU'"),
        ("CPU,GPU", "'CPU,GPU'"),
    ],
)
def test_openvino_device_that_is_not_here_is_refused(
    resnet: Model, wanted: str, absent: str
) -> None:
    with pytest.raises(BackendNotAvailableError, match=f"no device {absent} here") as caught:
        create_backend("openvino", wanted.lower()).load(resnet, 1)
    assert caught.value.hint.startswith("It finds CPU")
    assert "AUTO:GPU,CPU" in caught.value.hint


def test_each_device_of_a_choice_has_its_own_properties() -> None:
    several = device_config(("GPU", "CPU"), 2, "f32", 1)
    each = several["DEVICE_PROPERTIES"]
    assert {name: each[name] for name in ("GPU", "CPU")} == {
        name: device_config((name,), 2, "f32", 1) for name in ("GPU", "CPU")
    }
    assert "INFERENCE_NUM_THREADS" not in each["GPU"]
    assert each["CPU"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert several["ENABLE_STARTUP_FALLBACK"] is True
    without = device_config(("GPU", "NPU"), 2, "f32", 1)
    assert without["ENABLE_STARTUP_FALLBACK"] is False, "the processor is not asked for"


def test_choice_by_openvino_computes_in_the_precision_that_is_wanted(resnet: Model) -> None:
    """OpenVINO's AUTO would take bf16 by itself where the processor has it."""
    # One device twice: no machine of the tests has two, and one alone would be taken directly.
    device = openvino_backend._Device(ov.Core(), ("CPU", "CPU"))
    device.configure(2, "f32", 2)
    assert device.name == "AUTO:CPU,CPU"
    assert not device.keeps()
    network = openvino_backend._Network(resnet, "fp32", device, 2, None)
    exact = _loaded(OnnxRuntimeBackend(), resnet)
    for count in (1, 3):
        images = noise(resnet, count)
        found = network.run(images, OUTPUTS)
        assert _largest_difference(found, exact.run(images, OUTPUTS)) <= TOLERANCE


def test_streams_stand_for_openvinos_modes(resnet: Model) -> None:
    core = ov.Core()
    graph = core.read_model(resnet.read(GRAPH))
    names = ("NUM_STREAMS", "INFERENCE_NUM_THREADS")

    def shape(config: dict[str, object]) -> list[int]:
        compiled = core.compile_model(graph, "CPU", config)
        return [compiled.get_property(name) for name in names]

    _, cores = latency = shape({"PERFORMANCE_HINT": "LATENCY"})
    assert shape(device_config(("CPU",), cores, "f32", 1)) == latency == [1, cores]
    streams, threads = throughput = shape({"PERFORMANCE_HINT": "THROUGHPUT"})
    assert shape(device_config(("CPU",), threads, "f32", streams)) == throughput


@pytest.mark.parametrize(
    ("providers", "told"),
    [
        (("NopeExecutionProvider", "CPUExecutionProvider"), "has no NopeExecutionProvider"),
        (("AzureExecutionProvider",), "has no AzureExecutionProvider"),
        ((), "has no provider to use"),
    ],
)
def test_provider_that_is_not_here_is_refused(
    resnet: Model, providers: tuple[str, ...], told: str
) -> None:
    assert "AzureExecutionProvider" in ort.get_available_providers()
    with pytest.raises(BackendNotAvailableError, match=told) as caught:
        OnnxRuntimeBackend(providers).load(resnet, 1)
    assert caught.value.hint.startswith("It has ")
    assert "Azure" not in caught.value.hint


def test_provider_that_does_not_start_is_refused(
    resnet: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    backend = OnnxRuntimeBackend(("CUDAExecutionProvider",))
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(BackendNotAvailableError, match="CUDAExecutionProvider does not start"),
    ):
        backend.load(resnet, 1)
