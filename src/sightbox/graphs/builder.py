"""A small writer of ONNX graphs: takes named weights, folds batch norms, adds nodes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sightbox.errors import CheckpointError

OPSET = 17
"""The ONNX operator set of every graph: the lowest one with all the operators that are used."""

IR_VERSION = 8
"""The ONNX file format version that belongs to operator set 17 (onnx/docs/Versioning.md)."""

Weights = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Input:
    """What a graph is fed with.

    Attributes:
        size: Height and width of the picture, in pixels.
        mean: Mean of each channel, of values scaled to 0..1.
        std: Standard deviation of each channel, of values scaled to 0..1.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class GraphBuilder:
    """Collects nodes and weights, and checks that a state dict fits the network exactly.

    A missing or misshapen tensor does not stop the building: all of them are gathered, so that
    `finish` can name every one at once.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._used: set[str] = set()
        self._missing: list[str] = []
        self._misshapen: list[str] = []

    def take(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Returns the float32 weight `name`, which must have exactly this shape."""
        self._used.add(name)
        weight = self._weights.get(name)
        if weight is None:
            self._missing.append(name)
        elif weight.shape != shape:
            self._misshapen.append(f"{name} is {list(weight.shape)}, not {list(shape)}")
        else:
            return weight.astype(np.float32)
        return np.ones(shape, np.float32)

    def length(self, name: str) -> int:
        """Returns the first dimension of the weight `name`; 1 when it is missing."""
        weight = self._weights.get(name)
        return weight.shape[0] if weight is not None and weight.ndim else 1

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Stores an array in the graph under `name`."""
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        **attributes: Any,  # noqa: ANN401 - an attribute's type depends on the operator
    ) -> str:
        """Adds one node with one output, and returns the output's name."""
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def images(self, spec: Input) -> str:
        """Adds the first nodes: uint8 NHWC pixels to normalised float32 NCHW.

        The formula is torchvision's ``(x / 255 - mean) / std``, with the three divisions made one
        multiplication.
        """
        std = np.asarray(spec.std, np.float64)
        mean = np.asarray(spec.mean, np.float64)
        scale = self.constant("scale", _per_channel(1 / (255 * std)))
        shift = self.constant("shift", _per_channel(-mean / std))
        planes = self.node("Transpose", ["images"], "planes", perm=[0, 3, 1, 2])
        floats = self.node("Cast", [planes], "floats", to=TensorProto.FLOAT)
        scaled = self.node("Mul", [floats, scale], "scaled")
        return self.node("Add", [scaled, shift], "normalized")

    def conv_bn(
        self,
        source: str,
        conv: str,
        bn: str,
        shape: tuple[int, int, int],
        *,
        epsilon: float,
        stride: int = 1,
        groups: int = 1,
        pads: tuple[int, int] | None = None,
    ) -> str:
        """Adds a square convolution with its batch norm folded into it.

        Folding: with ``s = gamma / sqrt(var + eps)`` the weights become ``w * s`` and the bias
        ``beta - mean * s``, computed in float64 (Ioffe and Szegedy 2015, section 3.1).

        Args:
            source: Name of the input.
            conv: Prefix of the convolution's weight, and the name of the output.
            bn: Prefix of the batch norm's weights.
            shape: Output channels, input channels per group, kernel size.
            epsilon: The batch norm's epsilon.
            stride: Step of the convolution in both directions.
            groups: Number of channel groups.
            pads: Zeros before and after, in both directions; half the kernel when not given.
        """
        outputs, inputs, kernel = shape
        weight = self.take(f"{conv}.weight", outputs, inputs, kernel, kernel).astype(np.float64)
        gamma, beta, mean, var = (
            self.take(f"{bn}.{part}", outputs).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        self._used.add(f"{bn}.num_batches_tracked")
        scale = gamma / np.sqrt(var + epsilon)
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        bias = (beta - mean * scale).astype(np.float32)
        before, after = pads or (kernel // 2, kernel // 2)
        return self.node(
            "Conv",
            [source, self.constant(f"{conv}.w", folded), self.constant(f"{conv}.b", bias)],
            conv,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )

    def classifier(self, name: str, width: int) -> int:
        """Adds pooling and the last linear layer, named `name`; returns the number of classes.

        The outputs get their names here: the node added last becomes `maps`.
        """
        classes = self.length(f"{name}.weight")
        self._nodes[-1].output[0] = "maps"
        pooled = self.node("GlobalAveragePool", ["maps"], "pooled")
        features = self.node("Flatten", [pooled], "features", axis=1)
        weight = self.constant(f"{name}.w", self.take(f"{name}.weight", classes, width))
        bias = self.constant(f"{name}.b", self.take(f"{name}.bias", classes))
        self.node("Gemm", [features, weight, bias], "logits", transB=1)
        return classes

    def finish(self, name: str, spec: Input, classes: int, maps: tuple[int, int]) -> bytes:
        """Checks that every weight had its place, and returns the serialised ONNX model.

        Args:
            name: The architecture's name.
            spec: The input of the graph.
            classes: Number of classes.
            maps: Channels, and height and width, of the last feature maps.

        Raises:
            CheckpointError: Weights are missing, left over or misshapen; it names them.
        """
        self._check(name)
        width, side = maps
        graph = helper.make_graph(
            self._nodes,
            name,
            [
                helper.make_tensor_value_info(
                    "images", TensorProto.UINT8, ["N", spec.size, spec.size, len(spec.mean)]
                )
            ],
            [
                helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes]),
                helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", width]),
                helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", width, side, side]),
            ],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sightbox",
        )
        onnx.checker.check_model(model)
        serialized: bytes = model.SerializeToString()
        return serialized

    def _check(self, name: str) -> None:
        extra = sorted(set(self._weights) - self._used)
        problems = [
            f"{kind}: {_listed(names)}"
            for kind, names in (
                ("missing", self._missing),
                ("wrong shape", self._misshapen),
                ("not part of it", extra),
            )
            if names
        ]
        if problems:
            raise CheckpointError(
                f"These weights do not fit {name}: {'; '.join(problems)}.",
                "Check the architecture given with --arch.",
            )


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after that TensorFlow's ``SAME`` padding adds.

    The formula stands in TensorFlow's documentation of `tf.nn.convolution`: the output has
    ``ceil(size / stride)`` values, and an odd zero goes behind.
    """
    outputs = math.ceil(size / stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _per_channel(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(1, -1, 1, 1)


def _listed(names: Sequence[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
