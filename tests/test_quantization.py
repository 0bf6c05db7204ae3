"""The int8 variant: what calibrates it, how it is made, and how far it agrees."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import count, islice, pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from sightbox import quantization as subject
from sightbox.agreement import Agreement, Logits, compare
from sightbox.drawing import calibration_pictures
from sightbox.errors import ModelError, RequestError
from sightbox.graphs import Input, build_graph
from sightbox.graphs.builder import GraphBuilder
from sightbox.machine import instruction_sets
from sightbox.model import GRAPH, Model
from sightbox.preprocessing import prepare
from sightbox.quantization import Engine, Floats, Pixels, Sample, optimize, quantize
from sightbox.store import Store

OUTPUTS = ["logits", "features", "maps"]
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


def run(graph: bytes, pictures: Pixels) -> list[Floats]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    answers = [session.run(OUTPUTS, {"images": picture[None]}) for picture in pictures]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def onnxruntime(graph: bytes, pictures: Pixels) -> Logits:
    return run(graph, pictures)[0]


def same_top1(exact: Logits, fast: Logits) -> float:
    return float((exact.argmax(axis=1) == fast.argmax(axis=1)).mean())


@pytest.fixture(scope="module")
def model(home: Path) -> Model:
    return Store(home).open("efficientnet-lite0")


@pytest.fixture(scope="module")
def exact(model: Model) -> bytes:
    return model.read(GRAPH)


@pytest.fixture(scope="module")
def calibration(exact: bytes, model: Model) -> subject._Calibration:
    """Sixteen drawn pictures do nearly as well as the hundred that are the default."""
    return subject._calibrate(exact, calibration_pictures(16, model.card.recipe.crop))


@pytest.fixture(scope="module")
def variant(exact: bytes, calibration: subject._Calibration) -> bytes:
    return subject._quantize(exact, calibration, 0)


@pytest.fixture(scope="module")
def views(model: Model, photos: Path) -> Pixels:
    """Four views of each of five photos, uint8 [20, 224, 224, 3]."""
    found = []
    for name in NAMES:
        with Image.open(photos / name) as file:
            whole = file.convert("RGB")
        mirrored = whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for photo in (whole, mirrored):
            left = photo.crop((photo.width // 8, 0, photo.width, photo.height))
            found += [prepare(view, model.card.recipe) for view in (photo, left)]
    return np.stack(found)


@pytest.fixture(scope="module")
def right(exact: bytes, views: Pixels) -> list[Floats]:
    return run(exact, views)


# --- drawn pictures ---------------------------------------------------------------------------


def test_drawn_pictures_are_the_same_every_time() -> None:
    first, again = (list(calibration_pictures(3, 64)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(first[:2], list(calibration_pictures(2, 64)))
    assert not np.array_equal(first, list(calibration_pictures(3, 64, seed=1)))


def test_drawn_pictures_are_varied() -> None:
    pictures = np.stack(list(calibration_pictures(40, 48)))
    assert pictures.dtype == np.uint8
    assert pictures.shape == (40, 48, 48, 3)
    means, deviations = pictures.mean(axis=(1, 2)), pictures.std(axis=(1, 2))
    assert np.ptp(means) > 120
    assert deviations.min() < 25
    assert deviations.max() > 65
    assert np.abs(means[:, 0] - means[:, 2]).max() > 60
    assert not any(np.array_equal(one, other) for one, other in pairwise(pictures))


# --- agreement --------------------------------------------------------------------------------

LOGITS = np.array([[3, 1, 0, 0, 0, 0], [0, 2, 1, 0, 0, 0], [0, 0, 0, 5, 4, 0]], np.float32)


def test_equal_logits_agree_fully() -> None:
    targets = np.array([0, 1, 4])
    assert compare(LOGITS, LOGITS.copy(), targets) == Agreement(3, 1, 1, 0, 0, 2 / 3, 2 / 3)
    assert compare(LOGITS, LOGITS).accuracy_after is None


def test_agreement_counts_what_changed() -> None:
    fast = LOGITS.copy()
    fast[2] = [0, 0, 0, 4, 5, 0]
    found = compare(LOGITS, fast, np.array([0, 1, 4]))
    assert found.top1 == pytest.approx(2 / 3)
    assert found.top5 == 1
    assert found.accuracy_before == pytest.approx(2 / 3)
    assert found.accuracy_after == 1
    # softmax of 5 and 4 beside four zeros
    change = (np.e**5 - np.e**4) / (np.e**5 + np.e**4 + 4)
    assert found.largest_change == pytest.approx(change)
    assert found.mean_change == pytest.approx(change / 3)


def test_top5_is_the_part_that_stays_among_five() -> None:
    exact = np.arange(10, dtype=np.float32)[None]
    fast = exact.copy()
    fast[0, [0, 1]] = 8.5
    found = compare(exact, fast)
    assert found.top1 == 1
    assert found.top5 == pytest.approx(3 / 5)


@pytest.mark.parametrize("shape", [(0, 6), (2, 6), (3, 5)], ids=str)
def test_logits_that_do_not_belong_together_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="cannot be compared"):
        compare(np.zeros(shape, np.float32), LOGITS if shape[0] else np.zeros((0, 6), np.float32))


@pytest.mark.parametrize(("least", "passes"), [(0.96, True), (0.97, True), (0.971, False)])
def test_bar_is_passed_where_it_is_reached(least: float, passes: bool) -> None:
    assert Agreement(100, 0.97, 0.9, 0.01, 0.1).passes(least) is passes


def test_agreement_survives_json() -> None:
    report = Agreement(9, 0.5, 0.25, 0.1, 0.2, None, 0.5, "own", 7, 3, ("a", "b"), ("avx2",))
    assert Agreement.from_json(report.to_json()) == report


REPORT = asdict(Agreement(9, 1, 1, 0, 0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        json.dumps({**REPORT, "top1": "all"}),
        json.dumps({**REPORT, "top1": None}),
        json.dumps({**REPORT, "speed": 1}),
        json.dumps({**REPORT, "engines": 3}),
    ],
)
def test_damaged_report_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError, match="report is damaged"):
        Agreement.from_json(text)


# --- the variant ------------------------------------------------------------------------------


def test_variant_answers_like_the_exact_network(
    right: list[Floats], variant: bytes, views: Pixels
) -> None:
    answers = run(variant, views)
    for name, before, after in zip(OUTPUTS, right, answers, strict=True):
        assert after.dtype == np.float32
        assert after.shape == before.shape
        assert np.abs(after - before).mean() < 0.1 * before.std(), name
    assert same_top1(right[0], answers[0]) >= 0.95
    assert len(np.unique(answers[0])) > 256, "the logits are rounded to 8 bits"


def test_variant_is_a_valid_graph_of_a_quarter_the_size(exact: bytes, variant: bytes) -> None:
    proto = onnx.load_from_string(variant)
    onnx.checker.check_model(proto, full_check=True)
    before = onnx.load_from_string(exact)
    assert proto.opset_import == before.opset_import
    assert proto.ir_version == before.ir_version
    assert proto.graph.input == before.graph.input
    assert proto.graph.output == before.graph.output
    assert len(variant) < 0.3 * len(exact)


def test_over_200_photos_little_is_lost(variant: bytes, model: Model, shared_photos: Path) -> None:
    reference = np.load(shared_photos.parent / "reference" / "efficientnet_lite0_logits.npz")
    pictures = []
    for name in reference["names"]:
        with Image.open(shared_photos / str(name)) as photo:
            pictures.append(prepare(photo.convert("RGB"), model.card.recipe))
    found = compare(reference["logits"], run(variant, np.stack(pictures))[0], reference["target"])
    assert found.top1 >= 0.975
    assert found.accuracy_before is not None
    assert found.accuracy_after is not None
    assert found.accuracy_after >= found.accuracy_before - 0.005
    assert found.mean_change < 0.02


def test_same_pictures_make_the_same_bytes() -> None:
    pictures = list(calibration_pictures(4, SMALL.size))
    assert quantize(small_graph(), pictures) == quantize(small_graph(), iter(pictures))


def test_nothing_is_logged_printed_or_left_behind(
    exact: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    caplog.set_level(logging.DEBUG)
    handlers = list(logging.root.handlers)
    quantize(exact, calibration_pictures(1, 224))
    assert not list(scratch.iterdir())
    assert not caplog.records
    assert logging.root.handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_no_pictures_are_refused(exact: bytes) -> None:
    with pytest.raises(RequestError, match="no pictures to calibrate"):
        quantize(exact, [])


def weights(graph: bytes) -> Iterator[NDArray[np.int8]]:
    """Yields the int8 weights of convolutions and of the last layer, [outputs, inputs, taps]."""
    proto = onnx.load_from_string(graph).graph
    tensors = {tensor.name: tensor for tensor in proto.initializer}
    makers = {node.output[0]: node for node in proto.node}
    for node in proto.node:
        if node.op_type in {"Conv", "Gemm"} and node.input[1] in makers:
            stored = numpy_helper.to_array(tensors[makers[node.input[1]].input[0]])
            assert stored.dtype == np.int8
            yield stored.reshape(*stored.shape[:2], -1)


def test_no_sum_of_two_products_overflows_16_bits(variant: bytes) -> None:
    layers = list(weights(variant))
    assert len(layers) == 50
    for layer in layers:
        wide = layer.astype(int)
        if layer.shape[1] == 1:
            assert np.abs(wide).max() <= 127
        elif layer.shape[1] % 2:
            rising = np.sort(wide.reshape(len(wide), -1), axis=1)
            assert 255 * rising[:, -2:].sum(axis=1).max() < 2**15
            assert 255 * rising[:, :2].sum(axis=1).min() >= -(2**15)
        else:
            for sign in (1, -1):
                sums = np.maximum(sign * wide, 0).reshape(len(wide), -1, 2, wide.shape[2]).sum(2)
                assert 255 * sums.max() < 2**15


def test_weights_use_most_of_their_range(variant: bytes) -> None:
    """Halving all weights would be safe too, but coarser."""
    largest = [np.abs(layer.astype(int)).max(axis=(1, 2)) for layer in weights(variant)]
    assert np.concatenate(largest).mean() > 90


def test_corrected_biases_halve_the_error(
    exact: bytes,
    variant: bytes,
    calibration: subject._Calibration,
    views: Pixels,
    right: list[Floats],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subject, "_mean_error", lambda kernel, *_: np.zeros(len(kernel), "f4"))
    plain = subject._quantize(exact, calibration, 0)
    corrected, uncorrected = (run(graph, views)[0] - right[0] for graph in (variant, plain))
    assert 2 * np.square(corrected).mean() < np.square(uncorrected).mean()


@pytest.mark.parametrize("kept", [0, 1, 6])
def test_first_convolutions_and_the_normalisation_stay_in_float(
    exact: bytes, calibration: subject._Calibration, kept: int
) -> None:
    graph = subject._quantize(exact, calibration, kept)
    nodes = onnx.load_from_string(graph).graph.node
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    floats = [node.input[1].endswith(".w") for node in convolutions]
    assert floats == [True] * kept + [False] * (len(floats) - kept)
    makers = {output: node for node in nodes for output in node.output}
    above, kinds = convolutions[max(kept - 1, 0)].input[0], []
    while above != "images":
        kinds.append(makers[above].op_type)
        above = makers[above].input[0]
    assert kinds[-4:] == ["Add", "Mul", "Cast", "Transpose"]
    assert kinds.count("QuantizeLinear") == (kept == 0)


SMALL = Input(32, (0.4, 0.5, 0.6), (0.2, 0.3, 0.2))


def small_graph(dead: float = 1) -> bytes:
    """A network of seven convolutions, one of them depthwise, and a residual.

    Args:
        dead: Factor of the weights of two channels, one of them without a bias.
    """
    rng = np.random.default_rng(3)
    shapes = {"0": (16, 3, 3), "1": (16, 1, 3), "2": (24, 16, 1), "3": (24, 24, 3)}
    shapes |= dict.fromkeys("456", (24, 24, 1))
    state = {"fc.bias": np.zeros(9, np.float32)}
    state["fc.weight"] = 0.25 * rng.standard_normal((9, 24), np.float32)
    for name, (outputs, inputs, side) in shapes.items():
        weight = rng.standard_normal((outputs, inputs, side, side), np.float32)
        state[f"{name}.weight"] = weight * np.float32((2 / weight[0].size) ** 0.5)
        for part, value in (("weight", 1), ("running_var", 1), ("bias", 0.1), ("running_mean", 0)):
            state[f"{name}n.{part}"] = np.full(outputs, value, np.float32)
    state["2n.weight"][:2] *= np.float32(dead)
    state["2n.bias"][:2] = (3, 0)
    graph = GraphBuilder(state)
    x = graph.images(SMALL)
    for name, shape in shapes.items():
        groups = 16 if name == "1" else 1
        y = graph.conv_bn(x, name, f"{name}n", shape, epsilon=0, groups=groups)
        y = graph.node("Add", [x, y], f"{name}.add") if name == "4" else y
        x = graph.node("Relu", [y], f"{name}.relu")
    return graph.finish("small", SMALL, graph.classifier("fc", 24), (24, SMALL.size))


@pytest.mark.parametrize("dead", [1, 1e-6, 1e-12, 1e-30, 0])
def test_channels_that_do_next_to_nothing_survive(dead: float) -> None:
    """Trained networks have them: a bias of 3 in steps of 1e-12 would fit no int32."""
    graph = small_graph(dead)
    pictures = np.stack(list(calibration_pictures(8, SMALL.size)))
    for before, after in zip(
        run(graph, pictures), run(quantize(graph, pictures), pictures), strict=True
    ):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999


def test_resnet_is_quantised_throughout() -> None:
    spec = replace(SMALL, size=64)
    torch.manual_seed(3)
    network = torchvision.models.resnet18(weights=None, num_classes=7)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph, _ = build_graph("resnet18", state, spec)
    pictures = np.stack(list(calibration_pictures(6, spec.size)))
    variant = quantize(graph, pictures)
    nodes = onnx.load_from_string(variant).graph.node
    assert not [node.name for node in nodes if node.op_type == "Relu"]
    makers = {output: node.op_type for node in nodes for output in node.output}
    for node in nodes:
        if node.op_type in {"Conv", "MaxPool", "GlobalAveragePool", "Gemm"}:
            assert makers[node.input[0]] == "DequantizeLinear", node.name
    residuals = [node for node in nodes if node.op_type == "Add"][1:]
    assert len(residuals) == 8
    assert {makers[name] for node in residuals for name in node.input} == {"DequantizeLinear"}
    for before, after in zip(run(graph, pictures), run(variant, pictures), strict=True):
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.995


ON_ANOTHER_PROCESSOR = """
import sys
import numpy as np
from sightbox.backends.telemetry import silenced
with silenced():
    import openvino
graph, pictures, answers = sys.argv[1:]
core = openvino.Core()
hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
compiled = core.compile_model(core.read_model(graph), "CPU", hints)
np.save(answers, compiled({"images": np.load(pictures)})["logits"])
"""


def test_openvino_answers_the_same_with_and_without_vnni(
    variant: bytes, views: Pixels, right: list[Floats], tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    graph, pictures = tmp_path / "graph.onnx", tmp_path / "pictures.npy"
    graph.write_bytes(variant)
    np.save(pictures, views)
    found = []
    for most in ("DEFAULT", "AVX2"):
        answers = tmp_path / f"{most}.npy"
        subprocess.run(
            [sys.executable, "-c", ON_ANOTHER_PROCESSOR, graph, pictures, answers],
            check=True,
            env={**os.environ, "ONEDNN_MAX_CPU_ISA": most},
        )
        found.append(np.load(answers))
    assert np.array_equal(*found)
    assert same_top1(right[0], found[0]) >= 0.95


# --- choosing ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(model: Model) -> Model:
    recipe = replace(model.card.recipe, crop=SMALL.size)
    return Model(replace(model.card, recipe=recipe), None, {GRAPH: small_graph()})


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("CALIBRATING", 3), ("COMPARED", 12), ("FEWEST", 4)):
        monkeypatch.setattr(subject, name, number)


def _numbered() -> Iterator[Pixels]:
    """Yields pictures without end; the first pixel of each is its number."""
    for number in count():
        picture = np.full((SMALL.size, SMALL.size, 3), 90, np.uint8)
        picture[0, 0] = number
        yield picture


def unnamed(pictures: Iterable[Pixels]) -> Iterator[Sample]:
    """Yields pictures whose class is not known."""
    return ((picture, None) for picture in pictures)


def _failing(times: int, inner: Engine, seen: list[Pixels]) -> Engine:
    """An engine whose first answers are wrong for every second picture."""

    def engine(graph: bytes, pictures: Pixels) -> Logits:
        seen.append(pictures)
        logits = inner(graph, pictures).copy()
        if len(seen) <= times:
            logits[::2] = -logits[::2]
        return logits

    return engine


@pytest.mark.usefixtures("few")
def test_own_pictures_calibrate_or_are_compared_but_not_both(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[int] = []
    calibrate = subject._calibrate

    def watched(graph: bytes, pictures: Pixels) -> subject._Calibration:
        calibrated.extend(pictures[:, 0, 0, 0])
        return calibrate(graph, pictures)

    monkeypatch.setattr(subject, "_calibrate", watched)
    seen: list[Pixels] = []
    engines = {"a": _failing(0, onnxruntime, seen)}
    _, found = optimize(small, unnamed(_numbered()), engines, least_top1=0)
    assert calibrated == [0, 2, 4]
    assert [list(each[:, 0, 0, 0]) for each in seen] == [[1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]]
    assert (found.images, found.pictures, found.calibration_images) == (12, "own", 3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("wrong", "least", "tried", "kept"),
    [(0, 0.9, 1, 0), (1, 0.9, 2, 1), (2, 0.9, 2, 0), (1, 0.4, 1, 0)],
    ids=["first passes", "second passes", "none passes", "low bar"],
)
def test_float_convolutions_are_tried_where_the_first_disagrees(
    small: Model, wrong: int, least: float, tried: int, kept: int
) -> None:
    seen: list[Pixels] = []
    steps: list[str] = []
    graph, found = optimize(
        small,
        unnamed(calibration_pictures(15, SMALL.size)),
        {"a": _failing(wrong, onnxruntime, seen)},
        least_top1=least,
        progress=steps.append,
    )
    assert len(seen) == tried
    assert found.float_convolutions == kept
    assert found.passes(least) is (wrong < 2)
    convolutions = [n for n in onnx.load_from_string(graph).graph.node if n.op_type == "Conv"]
    assert sum(node.input[1].endswith(".w") for node in convolutions) == kept
    assert len(steps) == 3 + tried


@pytest.mark.usefixtures("few")
def test_worst_engine_is_reported(small: Model) -> None:
    pictures = calibration_pictures(15, SMALL.size)
    engines = {"good": onnxruntime, "bad": _failing(9, onnxruntime, [])}
    _, found = optimize(small, unnamed(pictures), engines, least_top1=0)
    assert found.engines == ("good", "bad")
    assert found.top1 <= 0.5
    assert found == replace(found, instruction_sets=instruction_sets())


@pytest.mark.usefixtures("few")
def test_drawn_pictures_are_compared_where_the_exact_network_is_clear(
    small: Model,
) -> None:
    seen: list[Pixels] = []
    _, found = optimize(small, None, {"a": _failing(0, onnxruntime, seen)}, least_top1=0)
    held_out = list(islice(calibration_pictures(15, SMALL.size), 3, None))
    logits = run(small.read(GRAPH), np.stack(held_out))[0]
    two = np.sort(logits, axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] >= np.log(2)
    assert 4 <= clear.sum() < 12
    assert np.array_equal(seen[0], np.stack(held_out)[clear])
    assert (found.images, found.pictures) == (clear.sum(), "drawn")


@pytest.mark.usefixtures("few")
def test_bf16_keeps_the_graph_and_is_compared(small: Model) -> None:
    seen: list[Pixels] = []
    engines = {"a": _failing(1, onnxruntime, seen)}
    pictures = unnamed(calibration_pictures(15, SMALL.size))
    graph, found = optimize(small, pictures, engines, precision="bf16", least_top1=0.97)
    assert graph == small.read(GRAPH)
    assert len(seen) == 1
    assert (found.calibration_images, found.float_convolutions) == (0, 0)
    assert found.top1 <= 0.5


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("all_known", [True, False])
def test_accuracy_is_told_where_all_classes_are_known(small: Model, all_known: bool) -> None:
    pictures = list(calibration_pictures(15, SMALL.size))
    right = [int(row.argmax()) for row in run(small.read(GRAPH), np.stack(pictures))[0]]
    samples: list[Sample] = list(zip(pictures, right, strict=True))
    samples[-1] = (pictures[-1], right[-1] if all_known else None)
    _, found = optimize(small, samples, {"a": onnxruntime}, least_top1=0)
    assert found.accuracy_before == (1 if all_known else None)
    assert found.accuracy_after == (found.top1 if all_known else None)


def test_where_few_pictures_are_clear_all_are_compared() -> None:
    logits = np.zeros((30, 5), np.float32)
    logits[:19, 0] = 1
    assert subject._clear(logits).all()
    logits[19, 0] = 1
    assert subject._clear(logits).sum() == 20


@pytest.mark.parametrize("number", [0, 1, 38, 39])
def test_too_few_own_pictures_are_refused(small: Model, number: int) -> None:
    pictures = islice(_numbered(), number)
    with pytest.raises(RequestError, match=rf"There are {number} pictures; it takes 40"):
        optimize(small, unnamed(pictures), {"a": onnxruntime}, least_top1=0.97)
