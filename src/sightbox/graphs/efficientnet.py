"""EfficientNet-Lite: a PyTorch state dict of TensorFlow's network to an ONNX graph.

The numbers are those of ``efficientnet_lite_builder.py`` in the TensorFlow TPU models: the stages
of EfficientNet-B0 (Tan and Le 2019, table 1) without squeeze-and-excitation, with ReLU6, and with
the stem and the head kept at their base widths.
"""

import math
from dataclasses import dataclass

import numpy as np

from sightbox.graphs.builder import GraphBuilder, Input, Weights, same_pads

EPSILON = 1e-3
"""The batch norms' epsilon in the original network."""

HEAD = "_fc"
"""Name of the last linear layer in the state dict."""

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class Stage:
    """Equal blocks: how many, kernel size, first stride, expansion, and output channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


VARIANTS = {
    "efficientnet-lite0": (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    )
}


def build(architecture: str, weights: Weights, spec: Input) -> tuple[bytes, int]:
    """Returns the serialised ONNX model of an EfficientNet-Lite, and its number of classes.

    Args:
        architecture: A key of `VARIANTS`.
        weights: The state dict, named as in lukemelas' EfficientNet-PyTorch.
        spec: The input of the graph.

    Raises:
        CheckpointError: The weights do not fit the architecture.
    """
    graph = GraphBuilder(weights)
    graph.constant("zero", np.array(0, np.float32))
    graph.constant("six", np.array(6, np.float32))
    x = graph.conv_bn(
        graph.images(spec),
        "_conv_stem",
        "_bn0",
        (STEM_CHANNELS, len(spec.mean), 3),
        epsilon=EPSILON,
        stride=2,
        pads=same_pads(spec.size, 3, 2),
    )
    x = _relu6(graph, x)
    channels, side, number = STEM_CHANNELS, math.ceil(spec.size / 2), 0
    for stage in VARIANTS[architecture]:
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            x = _block(graph, x, f"_blocks.{number}", channels, stage, stride, side)
            channels, side, number = stage.channels, math.ceil(side / stride), number + 1
    x = graph.conv_bn(x, "_conv_head", "_bn1", (HEAD_CHANNELS, channels, 1), epsilon=EPSILON)
    _relu6(graph, x)
    classes = graph.classifier(HEAD, HEAD_CHANNELS)
    return graph.finish(architecture, spec, classes, (HEAD_CHANNELS, side)), classes


def _block(
    graph: GraphBuilder, x: str, name: str, channels: int, stage: Stage, stride: int, side: int
) -> str:
    inner = channels * stage.expansion
    y = x
    if stage.expansion != 1:
        y = graph.conv_bn(
            y, f"{name}._expand_conv", f"{name}._bn0", (inner, channels, 1), epsilon=EPSILON
        )
        y = _relu6(graph, y)
    y = graph.conv_bn(
        y,
        f"{name}._depthwise_conv",
        f"{name}._bn1",
        (inner, 1, stage.kernel),
        epsilon=EPSILON,
        stride=stride,
        groups=inner,
        pads=same_pads(side, stage.kernel, stride),
    )
    y = graph.conv_bn(
        _relu6(graph, y),
        f"{name}._project_conv",
        f"{name}._bn2",
        (stage.channels, inner, 1),
        epsilon=EPSILON,
    )
    if stride == 1 and channels == stage.channels:
        y = graph.node("Add", [y, x], f"{name}.add")
    return y


def _relu6(graph: GraphBuilder, x: str) -> str:
    return graph.node("Clip", [x, "zero", "six"], f"{x}.relu6")
