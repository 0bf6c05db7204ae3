"""The int8 variant: near the exact one in both runtimes, safe from overflow, measured honestly."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from reference.seeded import SIDE, model_of, seeded_resnet18
from sightbox.agreement import Logits
from sightbox.backends import Pixels, create_backend
from sightbox.drawing import calibration_pictures
from sightbox.errors import RequestError
from sightbox.model import GRAPH, Model, seal
from sightbox.quantization import FEWEST, Engine, optimize, quantize

LARGEST_SUM = 2**15 - 1
"""What fits into the 16 bits that processors without VNNI add two products in."""


@pytest.fixture(scope="module")
def model() -> Model:
    """A small ResNet-18 with seeded weights."""
    return model_of(seeded_resnet18())


def run_on(name: str, model: Model, graph: bytes, pictures: Pixels) -> Logits:
    """Runs a graph on a backend."""
    backend = create_backend(name)
    backend.load(seal(model.card, {GRAPH: graph}), 1)
    logits = backend.run(pictures)["logits"]
    backend.close()
    return logits


def engine(model: Model) -> Engine:
    """Returns ONNX Runtime as what runs graphs."""
    return lambda graph, pictures: run_on("onnxruntime", model, graph, pictures)


def drawn(count: int, seed: int = 3) -> Pixels:
    """Returns drawn pictures of the model's size."""
    return np.stack(list(calibration_pictures(count, SIDE, seed)))


def test_drawn_pictures_are_always_the_same_and_another_seed_gives_others() -> None:
    pictures = drawn(5)
    assert pictures.dtype == np.uint8
    assert (pictures == drawn(5)).all()
    assert (pictures != drawn(5, seed=4)).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_int8_is_near_fp32_in_both_runtimes(model: Model, backend: str) -> None:
    pictures = drawn(16)
    exact = run_on("onnxruntime", model, model.read(GRAPH), pictures)
    variant = quantize(model.read(GRAPH), drawn(20, seed=9))
    fast = run_on(backend, model, variant, pictures)
    error = np.linalg.norm(fast - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert 0 < error.max() < 0.1


def test_input_and_outputs_stay_and_weights_are_int8(model: Model) -> None:
    proto = onnx.load_from_string(quantize(model.read(GRAPH), drawn(4)))
    exact = onnx.load_from_string(model.read(GRAPH))
    assert list(proto.graph.input) == list(exact.graph.input)
    assert [out.name for out in proto.graph.output] == [out.name for out in exact.graph.output]
    kinds = [tensor.data_type for tensor in proto.graph.initializer if len(tensor.dims) == 4]
    # All but the scale and the shift of the input.
    assert kinds.count(onnx.TensorProto.INT8) == len(kinds) - 2


def test_no_pair_of_products_overflows_16_bits(model: Model) -> None:
    """Two weights of neighbouring channels meet in one sum, with the largest activation, 255."""
    proto = onnx.load_from_string(quantize(model.read(GRAPH), drawn(4)))
    quantized = [
        numpy_helper.to_array(tensor).astype(np.int64)
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    # The first convolution is computed in float.
    for weights in (each for each in quantized if each.shape[1] > 3):
        assert 255 * np.abs(weights[:, 0::2] + weights[:, 1::2]).max() <= LARGEST_SUM


def test_nothing_to_calibrate_with_is_refused(model: Model) -> None:
    with pytest.raises(RequestError):
        quantize(model.read(GRAPH), [])


def test_own_pictures_are_dealt_into_calibration_and_comparison(model: Model) -> None:
    steps: list[str] = []
    _, agreement = optimize(
        model,
        drawn(2 * FEWEST),
        {"onnxruntime": engine(model)},
        least_top1=0,
        progress=steps.append,
    )
    assert (agreement.images, agreement.calibration_images) == (FEWEST, FEWEST)
    assert (agreement.pictures, agreement.engines) == ("own", ("onnxruntime",))
    assert steps


def test_too_few_pictures_are_refused(model: Model) -> None:
    with pytest.raises(RequestError, match=f"it takes {2 * FEWEST}"):
        optimize(model, drawn(2 * FEWEST - 2), {"onnxruntime": engine(model)}, least_top1=0)


def test_worst_runtime_is_reported_and_more_float_is_tried(model: Model) -> None:
    """One runtime answers nonsense: the report is about that one."""
    asked: list[bytes] = []

    def broken(graph: bytes, pictures: Pixels) -> Logits:
        asked.append(graph)
        return np.roll(run_on("onnxruntime", model, graph, pictures), 1, axis=1)

    engines = {"onnxruntime": engine(model), "broken": broken}
    _, agreement = optimize(model, drawn(2 * FEWEST), engines, least_top1=0.97)
    assert len(asked) == 2
    assert not agreement.passes(0.97)
