"""How much a network computes and moves for a picture, counted from its graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import onnx
from google.protobuf.message import DecodeError

from sightbox.errors import ModelError

COUNTED = ("Conv", "Gemm")
"""The layers that are counted: convolutions and the last product. What stands between them (sums,
activations, pooling) computes little, and runtimes do it while the values are at hand."""


@dataclass(frozen=True)
class Work:
    """What a network does for one picture.

    Attributes:
        macs: Multiplications, each with its addition.
        weights: Numbers that are read once for a batch: weights and biases.
        activations: Numbers that its layers read and write for each picture.
    """

    macs: int
    weights: int
    activations: int

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition are two."""
        return 2 * self.macs

    def intensity(self, batch: int, width: int) -> float:
        """Returns the operations for each byte that must be moved where nothing stays in a cache.

        Args:
            batch: Pictures in a batch.
            width: Bytes of a number.
        """
        moved = width * (self.weights + batch * self.activations)
        return batch * self.flops / moved


def work_of(graph: bytes) -> Work:
    """Counts the work of a graph that `sightbox.graphs.build_graph` made.

    Raises:
        ModelError: It is no such graph.
    """
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
    except (DecodeError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"The graph cannot be read: {error}") from error
    shapes = {
        value.name: [dimension.dim_value or 1 for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    constants = {each.name: list(each.dims) for each in model.graph.initializer}
    macs = weights = activations = 0
    for node in model.graph.node:
        if node.op_type not in COUNTED:
            continue
        try:
            source, result = shapes[node.input[0]], shapes[node.output[0]]
            shape = constants[node.input[1]]
        except KeyError as error:
            raise ModelError(f"The graph tells no shape of {error}.") from error
        macs += _macs(node.op_type, shape, result)
        weights += sum(prod(constants[name]) for name in node.input[1:])
        activations += prod(source) + prod(result)
    return Work(macs, weights, activations)


def _macs(kind: str, weight: Sequence[int], result: Sequence[int]) -> int:
    """Counts the multiplications of a layer.

    Args:
        kind: One of `COUNTED`.
        weight: Shape of its weights; of a convolution [outputs, inputs of a group, height,
            width].
        result: Shape of what it gives for one picture.
    """
    return prod(weight) if kind == "Gemm" else prod(result) * prod(weight[1:])
