"""Where a network can be looked into: its stages, its residual blocks, and the graphs between.

A stored graph gives its last tensors alone. Who wants the others cuts it at the ends of its stages
and runs the pieces one after the other; the graph itself, and who runs it, stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx.utils import Extractor

from sightbox.errors import ModelError
from sightbox.graphs import efficientnet, resnet

INPUT = "images"
"""Name of every network's input."""

_ANEW = "Remove the model, and prepare, fetch or import it again."

Kind = Literal["normalize", "stem", "pool", "stage", "head", "features", "logits"]
"""What a stage does: scale the pixels, filter them, keep the largest of neighbours, run blocks,
widen what the blocks give, take the mean over all places, weigh the means for each class."""


@dataclass(frozen=True)
class Block:
    """A residual block whose input is added to its output unchanged (He et al. 2015, equation 1).

    Attributes:
        name: Its name in the state dict.
        source: Name of the tensor ``x`` that it is given.
        branch: Name of what it computes of it, ``F(x)``.
        total: Name of the sum, ``x + F(x)``.
    """

    name: str
    source: str
    branch: str
    total: str


@dataclass(frozen=True)
class Stage:
    """A part of a network, from the end of the stage before it to its own.

    Attributes:
        kind: What it does.
        output: Name of the tensor that it gives.
        blocks: Its residual blocks that add to their input, in order.
    """

    kind: Kind
    output: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Piece:
    """The graph of one stage.

    Attributes:
        stage: The stage.
        source: Name of its only input.
        outputs: Names of its outputs: the stage's, and those of its blocks' tensors that are not
            its input.
        graph: The serialised ONNX model.
    """

    stage: Stage
    source: str
    outputs: tuple[str, ...]
    graph: bytes


def stages_of(architecture: str) -> tuple[Stage, ...]:
    """Returns the stages of a network, in order.

    Raises:
        ModelError: The architecture is unknown.
    """
    if architecture in resnet.VARIANTS:
        body = _resnet(resnet.VARIANTS[architecture])
    elif architecture in efficientnet.VARIANTS:
        body = _efficientnet(efficientnet.VARIANTS[architecture])
    else:
        raise ModelError(f"The stages of the architecture {architecture!r} are not known.")
    return (
        Stage("normalize", "normalized"),
        *body,
        Stage("features", "features"),
        Stage("logits", "logits"),
    )


def cut(graph: bytes, architecture: str) -> Iterator[Piece]:
    """Cuts a graph at the ends of its stages, one piece at a time.

    Args:
        graph: A serialised ONNX model of `sightbox.graphs.build_graph`.
        architecture: The network's name.

    Raises:
        ModelError: The architecture is unknown, or the graph is not one of it.
    """
    stages = stages_of(architecture)
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise ModelError("The graph is damaged.", _ANEW) from error
    # The ends of pieces need shapes; a stored graph tells those of its own ends alone.
    extractor = Extractor(onnx.shape_inference.infer_shapes(model))
    source = INPUT
    for stage in stages:
        wanted = chain.from_iterable((b.source, b.branch, b.total) for b in stage.blocks)
        outputs = tuple(name for name in dict.fromkeys((stage.output, *wanted)) if name != source)
        try:
            piece = extractor.extract_model([source], list(outputs))
        except ValueError as error:
            raise ModelError(f"The graph is none of {architecture}: {error}.", _ANEW) from error
        yield Piece(stage, source, outputs, piece.SerializeToString())
        source = stage.output


def _resnet(variant: resnet.Variant) -> Iterator[Stage]:
    yield Stage("stem", "stem")
    yield Stage("pool", "maxpool")
    last, before = len(variant.depths), "maxpool"
    convolutions = 2 if variant.expansion == 1 else 3
    for number, depth in enumerate(variant.depths, 1):
        blocks = []
        for index in range(depth):
            name = f"layer{number}.{index}"
            # Where the shape changes a convolution stands in the way of x: that is no plain sum.
            if index > 0 or (number == 1 and variant.expansion == 1):
                blocks.append(Block(name, before, f"{name}.conv{convolutions}", f"{name}.add"))
            before = f"{name}.out"
        yield Stage("stage", "maps" if number == last else before, tuple(blocks))


def _efficientnet(stages: tuple[efficientnet.Stage, ...]) -> Iterator[Stage]:
    yield Stage("stem", "_conv_stem.relu6")
    number, before = 0, "_conv_stem.relu6"
    for stage in stages:
        blocks = []
        for index in range(stage.blocks):
            name = f"_blocks.{number}"
            branch = f"{name}._project_conv"
            if index > 0:
                blocks.append(Block(name, before, branch, f"{name}.add"))
            before, number = blocks[-1].total if index > 0 else branch, number + 1
        yield Stage("stage", before, tuple(blocks))
    yield Stage("head", "maps")
