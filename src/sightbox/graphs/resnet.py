"""ResNet: torchvision's state dict to an ONNX graph.

The numbers are table 1 of He et al., "Deep Residual Learning for Image Recognition" (2015); the
stride of a bottleneck sits in its 3x3 convolution, as in torchvision ("ResNet v1.5").
"""

from dataclasses import dataclass

from sightbox.graphs.builder import GraphBuilder, Input, Weights

EPSILON = 1e-5
"""The batch norms' epsilon: the default of `torch.nn.BatchNorm2d`."""

HEAD = "fc"
"""Name of the last linear layer in the state dict."""

STAGE_WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True)
class Variant:
    """Blocks in each of the four stages, and how much wider a block's output is than its inside."""

    depths: tuple[int, int, int, int]
    expansion: int


VARIANTS = {
    "resnet18": Variant((2, 2, 2, 2), 1),
    "resnet34": Variant((3, 4, 6, 3), 1),
    "resnet50": Variant((3, 4, 6, 3), 4),
}


def build(architecture: str, weights: Weights, spec: Input) -> tuple[bytes, int]:
    """Returns the serialised ONNX model of a ResNet, and its number of classes.

    Args:
        architecture: A key of `VARIANTS`.
        weights: torchvision's state dict.
        spec: The input of the graph.

    Raises:
        CheckpointError: The weights do not fit the architecture.
    """
    variant = VARIANTS[architecture]
    graph = GraphBuilder(weights)
    x = graph.conv_bn(
        graph.images(spec), "conv1", "bn1", (64, len(spec.mean), 7), epsilon=EPSILON, stride=2
    )
    x = graph.node("Relu", [x], "stem")
    x = graph.node(
        "MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
    )
    channels = 64
    for stage, (depth, width) in enumerate(zip(variant.depths, STAGE_WIDTHS, strict=True), 1):
        for block in range(depth):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _block(graph, x, f"layer{stage}.{block}", channels, width, stride, variant)
            channels = width * variant.expansion
    classes = graph.classifier(HEAD, channels)
    # Five halvings: the stem, the max pool and three stages; each rounds up.
    side = -(-spec.size // 32)
    return graph.finish(architecture, spec, classes, (channels, side)), classes


def _block(
    graph: GraphBuilder,
    x: str,
    name: str,
    channels: int,
    width: int,
    stride: int,
    variant: Variant,
) -> str:
    outputs = width * variant.expansion
    if variant.expansion == 1:
        convolutions = [(width, channels, 3, stride), (width, width, 3, 1)]
    else:
        convolutions = [(width, channels, 1, 1), (width, width, 3, stride), (outputs, width, 1, 1)]
    y = x
    for number, (out, inner, kernel, step) in enumerate(convolutions, 1):
        y = graph.conv_bn(
            y,
            f"{name}.conv{number}",
            f"{name}.bn{number}",
            (out, inner, kernel),
            epsilon=EPSILON,
            stride=step,
        )
        if number < len(convolutions):
            y = graph.node("Relu", [y], f"{name}.relu{number}")
    if stride != 1 or channels != outputs:
        x = graph.conv_bn(
            x,
            f"{name}.downsample.0",
            f"{name}.downsample.1",
            (outputs, channels, 1),
            epsilon=EPSILON,
            stride=stride,
        )
    total = graph.node("Add", [y, x], f"{name}.add")
    return graph.node("Relu", [total], f"{name}.out")
