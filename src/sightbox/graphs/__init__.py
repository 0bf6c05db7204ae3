"""State dict to ONNX graph, one module for each family of networks.

Every graph has the input ``images`` (uint8 [N, H, W, 3], RGB) and the outputs ``logits``
(float32 [N, C]), ``features`` (float32 [N, D], after pooling) and ``maps`` (float32 [N, D, h, w],
the last feature maps). Scaling and normalisation are its first nodes, batch norms are folded.
"""

from collections.abc import Callable

from sightbox.errors import CheckpointError
from sightbox.graphs import efficientnet, resnet
from sightbox.graphs.builder import Input as Input
from sightbox.graphs.builder import Weights as Weights

_BUILDERS: dict[str, Callable[[str, Weights, Input], tuple[bytes, int]]] = {
    **dict.fromkeys(resnet.VARIANTS, resnet.build),
    **dict.fromkeys(efficientnet.VARIANTS, efficientnet.build),
}

ARCHITECTURES = tuple(_BUILDERS)
"""Names of the networks that can be built."""

HEADS = {
    **dict.fromkeys(resnet.VARIANTS, resnet.HEAD),
    **dict.fromkeys(efficientnet.VARIANTS, efficientnet.HEAD),
}
"""For each network the name of its last linear layer, the weights of which follow the pooling."""


def build_graph(architecture: str, weights: Weights, spec: Input) -> tuple[bytes, int]:
    """Returns the serialised ONNX model of a network, and its number of classes.

    Args:
        architecture: One of `ARCHITECTURES`.
        weights: The state dict; float arrays of any precision, batch counters are ignored.
        spec: The input of the graph.

    Raises:
        CheckpointError: The architecture is unknown, or the weights do not fit it.
    """
    if architecture not in _BUILDERS:
        raise CheckpointError(
            f"The architecture {architecture!r} is unknown.",
            f"Known are {', '.join(ARCHITECTURES)}.",
        )
    return _BUILDERS[architecture](architecture, weights, spec)
