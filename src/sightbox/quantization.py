"""The int8 variant of a network: uint8 activations, int8 weights, a scale for each channel.

It is static quantisation, written as Q/DQ nodes, which ONNX Runtime and OpenVINO both read. Two
steps of our own make one file right on every processor:

* Scales that cannot overflow. Without VNNI, both runtimes add two products of uint8 and int8 in 16
  bits (``vpmaddubsw``, which saturates). Here a channel's scale is such that no such sum can be too
  large. That costs far less than ONNX Runtime's ``reduce_range``, which halves all weights.
* Biases that make up for rounding. The mean error that a channel's rounded weights cause is taken
  off its bias (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
  Correction", section 4.2).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sightbox.agreement import Agreement, Logits, compare
from sightbox.backends.telemetry import silenced
from sightbox.drawing import calibration_pictures
from sightbox.errors import RequestError
from sightbox.machine import instruction_sets, usable_cores
from sightbox.model import GRAPH, Model
from sightbox.prediction import softmax

with silenced():
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

CALIBRATING = 100
"""Pictures that calibrate. 200 and 400 were no better, 16 were nearly as good."""

COMPARED = 400
"""Pictures that answers are compared on, at most: 60 MB where the model reads 224 x 224 px."""

FEWEST = 20
"""Pictures that must be there to calibrate, and as many again to compare."""

CLEAR = 2.0
"""A drawn picture is compared where the exact network holds its first class to be this many times
as likely as its second. Drawn pictures show nothing: half of them are toss-ups, as photos seldom
are. Over the others, 97 % agreement went with 97 to 98 % over photos (EfficientNet-Lite0)."""

LARGEST_WEIGHT = 127
"""Two weights that make 127 together make 128 when they are rounded, and 255 * 128 < 2**15."""

LARGEST_BIAS = 2**30
"""Half of what an int32 holds: the sum with the products must fit."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

Engine = Callable[[bytes, Pixels], Logits]
"""Runs a serialised ONNX graph over uint8 [N, H, W, 3], and returns its logits, float32 [N, C]."""

Sample = tuple[Pixels, int | None]
"""A picture of the model's input size, uint8 [H, W, 3], and its right class where it is known."""

PRECISIONS = ("int8", "bf16")
"""The variants that can be made; bf16 is only how an engine computes, and keeps the graph."""

_QUANTIZED = ["Conv", "Gemm", "Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool", "Flatten"]
_BESIDE_CHANNELS = {"Conv": [0, 2, 3], "Gemm": [0]}
"""The layers with weights, and the axes of what they read that are not its channels."""

_FOLDS = {"ReduceMin": np.minimum, "ReduceMax": np.maximum, "ReduceMean": np.add}


class _Reduction(NamedTuple):
    """One figure, or one a channel, that is measured of an activation."""

    source: str
    kind: str
    axes: tuple[int, ...] = ()


class _Calibration(NamedTuple):
    """What the activations of a network are like.

    Attributes:
        ranges: Smallest and largest value of each activation.
        means: Mean of each channel of what the layers with weights read.
    """

    ranges: Mapping[str, tuple[Floats, Floats]]
    means: Mapping[str, Floats]


def optimize(
    model: Model,
    samples: Iterable[Sample] | None,
    engines: Mapping[str, Engine],
    *,
    precision: str = PRECISIONS[0],
    least_top1: float,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[bytes, Agreement]:
    """Makes a variant of a model, and measures its agreement with the exact network.

    Where int8 does not agree well enough, a second one is tried whose first sixth of the
    convolutions stays in float. No picture that calibrates is compared.

    Args:
        model: The model.
        samples: The user's own pictures: every second one calibrates. The first 500 are taken, so
            mix the classes. None takes drawn ones.
        engines: The runtimes that are to run the variant, by name; at least one.
        precision: One of `PRECISIONS`.
        least_top1: The part of equal answers that is enough, 0 to 1.
        progress: Is told each step before it begins.

    Returns:
        The serialised graph of the variant that agrees best, and its agreement with the exact
        network, which may be too little.

    Raises:
        RequestError: There are too few pictures.
    """
    graph = model.read(GRAPH)
    progress("preparing pictures")
    size = model.card.recipe.crop
    calibrating, compared, targets = _draw(size) if samples is None else _deal(samples)
    progress("asking the exact network")
    exact = _logits(graph, compared)
    if samples is None:
        clear = _clear(exact)
        compared, exact = compared[clear], exact[clear]
    calibrates = precision == "int8"
    if calibrates:
        progress("calibrating")
    variants = _int8(graph, _calibrate(graph, calibrating)) if calibrates else [(0, graph)]
    found: list[tuple[bytes, Agreement]] = []
    for kept, variant in variants:
        progress(f"comparing, with {kept} convolutions in float" if calibrates else "comparing")
        answers = [compare(exact, run(variant, compared), targets) for run in engines.values()]
        agreement = replace(
            min(answers, key=lambda answer: answer.top1),
            pictures="drawn" if samples is None else "own",
            calibration_images=len(calibrating) if calibrates else 0,
            float_convolutions=kept,
            engines=tuple(engines),
            instruction_sets=instruction_sets(),
        )
        found.append((variant, agreement))
        if agreement.passes(least_top1):
            break
    return max(found, key=lambda each: each[1].top1)


def quantize(graph: bytes, pictures: Iterable[Pixels], *, float_convolutions: int = 0) -> bytes:
    """Returns the int8 variant of a graph: the same input, and the same outputs in float32.

    Args:
        graph: A serialised graph, made by `sightbox.graphs`.
        pictures: What calibrates, uint8 [H, W, 3] of the graph's input size; at least one.
        float_convolutions: How many convolutions, from the first one on, stay in float together
            with all that stands before the next one.

    Raises:
        RequestError: There are no pictures.
    """
    return _quantize(graph, _calibrate(graph, pictures), float_convolutions)


def _int8(graph: bytes, calibration: _Calibration) -> Iterator[tuple[int, bytes]]:
    """Makes int8 variants when they are needed, each with its number of float convolutions."""
    for kept in (0, len(_convolutions(_parse(graph))) // 6):
        yield kept, _quantize(graph, calibration, kept)


def _draw(size: int) -> tuple[Pixels, Pixels, None]:
    """Returns drawn pictures to calibrate and to compare, uint8 [N, size, size, 3], no classes."""
    drawn = np.stack(list(calibration_pictures(CALIBRATING + COMPARED, size)))
    return drawn[:CALIBRATING], drawn[CALIBRATING:], None


def _deal(samples: Iterable[Sample]) -> tuple[Pixels, Pixels, NDArray[np.int64] | None]:
    """Returns own pictures to calibrate and to compare, uint8 [N, H, W, 3].

    The third is the right classes of those to compare, [N]; None unless all are known.
    """
    calibrating: list[Pixels] = []
    compared: list[Pixels] = []
    targets: list[int | None] = []
    for number, (picture, target) in enumerate(islice(samples, CALIBRATING + COMPARED)):
        if number % 2 == 0 and len(calibrating) < CALIBRATING:
            calibrating.append(picture)
        else:
            compared.append(picture)
            targets.append(target)
    if len(compared) < FEWEST:
        raise RequestError(
            f"There are {len(calibrating) + len(compared)} pictures; it takes {2 * FEWEST} to "
            "calibrate, and to tell whether the answers agree.",
            "Give more, or none: then drawn ones are taken.",
        )
    known = None if None in targets else np.array(targets)
    return np.stack(calibrating), np.stack(compared), known


def _clear(exact: Logits) -> NDArray[np.bool_]:
    """Tells which drawn pictures are to be compared; all of them where few are clear."""
    second, first = np.sort(softmax(exact), axis=1)[:, -2:].T
    clear: NDArray[np.bool_] = first >= CLEAR * second
    return clear if clear.sum() >= FEWEST else np.ones_like(clear)


def _parse(graph: bytes) -> onnx.ModelProto:
    """Reads a graph, and finds the type and the shape of each activation."""
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))


def _convolutions(proto: onnx.ModelProto) -> list[int]:
    """Returns the places of the convolutions among the nodes."""
    return [place for place, node in enumerate(proto.graph.node) if node.op_type == "Conv"]


def _session(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3  # errors; warnings are about its own optimiser
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _logits(graph: bytes, pictures: Iterable[Pixels]) -> Logits:
    session = _session(graph)
    # One at a time: as fast as batches here, and the activations take the least memory.
    each = (session.run(["logits"], {"images": picture[None]})[0] for picture in pictures)
    return np.concatenate(list(each))


def _calibrate(graph: bytes, pictures: Iterable[Pixels]) -> _Calibration:
    """Measures the activations, in memory that does not grow with the number of pictures."""
    proto = _parse(graph)
    wanted = _wanted(proto.graph)
    _ask_for(proto.graph, wanted)
    session = _session(proto.SerializeToString())
    found: dict[_Reduction, Floats] = {}
    count = 0
    for count, picture in enumerate(pictures, 1):  # noqa: B007 - it is read after the loop
        for each, value in zip(wanted, session.run(None, {"images": picture[None]}), strict=True):
            found[each] = _FOLDS[each.kind](found[each], value) if each in found else value
    if not count:
        raise RequestError("There are no pictures to calibrate with.", "Give at least one.")
    lows, highs, sums = (
        {each.source: value for each, value in found.items() if each.kind == kind}
        for kind in _FOLDS
    )
    return _Calibration(
        {name: (low, highs[name]) for name, low in lows.items()},
        {name: total / np.float32(count) for name, total in sums.items()},
    )


def _wanted(graph: onnx.GraphProto) -> list[_Reduction]:
    """Lists what is measured: ranges of all activations, means of what layers read."""
    values = [*graph.value_info, *graph.output]
    floats = [v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT]
    ranges = [_Reduction(name, kind) for name in floats for kind in ("ReduceMin", "ReduceMax")]
    read = {node.input[0]: node.op_type for node in graph.node if node.op_type in _BESIDE_CHANNELS}
    means = [
        _Reduction(name, "ReduceMean", tuple(_BESIDE_CHANNELS[layer]))
        for name, layer in read.items()
    ]
    return ranges + means


def _ask_for(graph: onnx.GraphProto, wanted: Iterable[_Reduction]) -> None:
    """Makes the reductions the graph's only outputs."""
    del graph.output[:]
    for source, kind, axes in wanted:
        name = f"{source}:{kind}"
        graph.node.append(helper.make_node(kind, [source], [name], keepdims=0, axes=axes or None))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _quantize(graph: bytes, calibration: _Calibration, float_convolutions: int) -> bytes:
    proto = _parse(graph)
    nodes = list(proto.graph.node)
    first = [*_convolutions(proto), len(nodes)][float_convolutions]
    scales = _refine(proto.graph, nodes[first:], calibration)
    # With this mark the library keeps our types and shapes; else it finds them in a file.
    helper.set_model_props(proto, {"onnx.infer": "onnxruntime.quant"})
    quantizer = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, dict(calibration.ranges)),
        nodes_to_quantize=[],
        nodes_to_exclude=[node.name for node in nodes[:first]],
        op_types_to_quantize=_QUANTIZED,
        extra_options={
            "OpTypesToExcludeOutputQuantization": ["Gemm"],  # logits are not rounded
            "TensorQuantOverrides": scales,
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    variant: bytes = quantizer.model.model.SerializeToString()
    return variant


def _refine(
    graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto], calibration: _Calibration
) -> dict[str, list[dict[str, Any]]]:
    """Finds the scales of the layers' weights, and corrects their biases in the graph.

    Returns:
        For each weight, what the library wants to know of each output channel.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    found = {}
    for node in nodes:
        if node.op_type not in _BESIDE_CHANNELS:
            continue
        source, weight, bias = node.input
        kernel, offset = (numpy_helper.to_array(tensors[name]) for name in (weight, bias))
        kernel = kernel.reshape(*kernel.shape[:2], -1)
        scale = _scale(kernel, offset, *calibration.ranges[source])
        offset = offset - _mean_error(kernel, scale, calibration.means[source])
        tensors[bias].CopyFrom(numpy_helper.from_array(offset, bias))
        found[weight] = [
            {"axis": 0, "quant_type": QuantType.QInt8, "scale": each, "zero_point": np.int8(0)}
            for each in scale
        ]
    return found


def _scale(kernel: Floats, offset: Floats, low: Floats, high: Floats) -> Floats:
    """Returns the value of one step of a layer's weights, [outputs].

    Args:
        kernel: [outputs, inputs, taps].
        offset: The bias, [outputs].
        low: Smallest value that the layer reads.
        high: Largest value that it reads.
    """
    step = (np.maximum(high, 0) - np.minimum(low, 0)) / 255 or 1
    # The bias is counted in steps of weight times input; of a dead channel's weights they would be
    # so small that it overflows.
    least = np.abs(offset) / (LARGEST_BIAS * step)
    scale = np.maximum(_largest_sum(kernel) / LARGEST_WEIGHT, least)
    return np.where(scale > 0, scale, 1).astype(np.float32)


def _largest_sum(kernel: Floats) -> Floats:
    """Returns the largest sum of two weights, or weight, that 16 bits must hold, [outputs].

    Both runtimes add the products of neighbouring input channels, so two weights count together
    where their signs are equal. A depthwise convolution adds in 32 bits. Of an odd number of
    channels, each runtime makes its own pairs: any two may meet.

    Args:
        kernel: [outputs, inputs, taps].
    """
    outputs, inputs, _ = kernel.shape
    if inputs == 1:
        pairs = kernel[:, :, None]
    elif inputs % 2:
        pairs = np.sort(kernel.reshape(outputs, -1))[:, [[0, 1], [-2, -1]], None]
    else:
        pairs = kernel.reshape(outputs, inputs // 2, 2, -1)
    rising, falling = (np.maximum(sign * pairs, 0).sum(axis=2) for sign in (1, -1))
    largest: Floats = np.maximum(rising, falling).max(axis=(1, 2))
    return largest


def _mean_error(kernel: Floats, scale: Floats, mean: Floats) -> Floats:
    """Returns what the rounding of the weights adds to each output on average, [outputs].

    Args:
        kernel: [outputs, inputs of a group, taps].
        scale: [outputs].
        mean: Mean of each input channel, [inputs of all groups].
    """
    outputs, inputs, _ = kernel.shape
    scale = scale[:, None, None]
    rounded = np.rint(kernel / scale).clip(-LARGEST_WEIGHT, LARGEST_WEIGHT) * scale
    groups = mean.reshape(-1, inputs)
    means = np.repeat(groups, outputs // len(groups), axis=0)
    return np.asarray(((rounded - kernel).sum(axis=2) * means).sum(axis=1), np.float32)
