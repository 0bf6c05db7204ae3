"""One picture's way through a network, step by step, with the real tensors of each step.

The network is cut into its stages (`sightbox.graphs.stages`), and each stage takes what the one
before it gave: the logits at the end are those of the whole network. Nothing is kept afterwards,
so that who only wants answers pays nothing for it.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.backends import Arrays, open_session
from sightbox.channels import Plane, plane, strongest
from sightbox.decoding.budget import DecodeBudget, Permit
from sightbox.graphs.stages import Block, Piece, cut
from sightbox.image import DEFAULT_LIMITS, DecodedImage, ImageLimits, open_image
from sightbox.labels import Labels
from sightbox.model import EXACT, GRAPH, Card, Model
from sightbox.opening import PIXELS_PER_MEGAPIXEL
from sightbox.patience import ENDLESS, Patience
from sightbox.prediction import ModelInfo, Score, best_scores, softmax
from sightbox.preprocessing import Resized, place, resize_whole
from sightbox.upright import as_stored

SHOWN_CHANNELS = 12
"""Most channels of a stage that are shown: it has 1,280 at most, and nobody looks at all."""

SHOWN_SIDE = 320
"""Longest side of a shown photo, px."""

FIRST_BYTES = 32
"""So many bytes of the file are shown: its signature and a little more."""

BEST = 5
"""So many classes are named."""

TIMED_RUNS = 3
"""Runs of a stage, after one to warm up, of which the shortest counts: nothing but other work on
the machine makes a run longer."""

THREADS = 1
"""The stages are computed by one core: the others are for those who want answers."""

Pixels = NDArray[np.uint8]


class Addition(NamedTuple):
    """What a residual block adds to its input.

    Attributes:
        name: The block's name.
        ratio: Length of ``F(x)`` as a part of that of ``x`` (Euclidean norms).
        planes: One channel of ``x``, ``F(x)`` and ``x + F(x)``, all of the same scale.
    """

    name: str
    ratio: float
    planes: tuple[Plane, Plane, Plane]


@dataclass(frozen=True)
class Step:
    """One step of the way.

    Attributes:
        kind: What happens: ``bytes``, ``decode``, ``turn``, ``resize``, ``crop``, or a stage's
            kind (`sightbox.graphs.stages.Kind`), or ``softmax``.
        shape: Of the tensor that the step gives.
        dtype: Of its values.
        milliseconds: How long the step took; None where it is no work of its own.
        tensor: Name of the tensor in the graph.
        photos: RGB pictures, uint8 [h, w, 3].
        planes: Channels as pictures, the strongest first.
        additions: What the residual blocks add, in order.
        values: The tensor itself, where it is a list of numbers.
        facts: What else its texts tell, by name.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    milliseconds: float | None
    tensor: str | None = None
    photos: tuple[Pixels, ...] = ()
    planes: tuple[Plane, ...] = ()
    additions: tuple[Addition, ...] = ()
    values: NDArray[np.floating] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Walkthrough:
    """A picture's way through a network.

    Attributes:
        model: Which network was looked into: always the exact one.
        title: Its name for people.
        steps: The steps, in order.
        best: The most likely classes.
        logits: float32 [C].
    """

    model: ModelInfo
    title: str
    steps: tuple[Step, ...]
    best: tuple[Score, ...]
    logits: NDArray[np.float32]


class Walker:
    """Walks pictures through networks, one at a time. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def walk(
        self,
        data: bytes,
        model: Model,
        labels: Labels,
        *,
        limits: ImageLimits = DEFAULT_LIMITS,
        budget: DecodeBudget | None = None,
        patience: Patience = ENDLESS,
    ) -> Walkthrough:
        """Walks one picture through a network.

        Args:
            data: The bytes of an image file.
            model: The network.
            labels: The names of its classes.
            limits: Which files are accepted.
            budget: The room for pictures that are decoded; without end when not given.
            patience: How long to wait for a turn.

        Raises:
            ImageError: The picture cannot be read.
            ModelError: The model is damaged.
            DeadlineError: The time was over before the turn came, or nobody waits any more.
            BackendError: The runtime failed.
        """
        with patience.holding(self._turn):
            room = budget or DecodeBudget(1, limits.max_pixels / PIXELS_PER_MEGAPIXEL)
            with room.turn(patience) as permit:
                steps, pixels = _prepared(data, model.card, limits, permit)
            for passed in run_stages(model, pixels):
                steps.append(_stage_step(passed, model.card, pixels))
        logits = passed.arrays["logits"][0]
        start = perf_counter()
        temperature = model.card.temperature
        probabilities = softmax(logits, temperature)
        milliseconds = _since(start)
        best = best_scores(probabilities, labels, BEST)
        steps.append(
            Step(
                "softmax",
                probabilities.shape,
                str(probabilities.dtype),
                milliseconds,
                facts={"temperature": temperature},
            )
        )
        info = ModelInfo(model.card.name, EXACT, "onnxruntime")
        return Walkthrough(info, model.card.title, tuple(steps), best, logits)


def _prepared(
    data: bytes, card: Card, limits: ImageLimits, permit: Permit
) -> tuple[list[Step], Pixels]:
    """Returns the steps from the bytes to the pixels that the network reads, and these."""
    opened = open_image(data, limits)
    permit(opened.width * opened.height)
    start = perf_counter()
    image = opened.decode()
    decoding = _since(start)
    start = perf_counter()
    resized = resize_whole(image.pixels, card.recipe)
    resizing = _since(start)
    start = perf_counter()
    pixels = place(resized.kept(), card.recipe.crop)
    cropping = _since(start)
    stored = as_stored(image.pixels, image.orientation)
    left, top, right, bottom = resized.box
    whole = (right - left, bottom - top) == resized.image.size
    kept = (_small(Image.fromarray(pixels)),)
    start_of_file = data[:FIRST_BYTES].hex(" ")
    steps = [
        Step(
            "bytes",
            (len(data),),
            "uint8",
            None,
            facts={"start": start_of_file, "format": image.format},
        ),
        Step("decode", _shape(stored), "uint8", decoding, photos=(_small(stored),)),
        _turn_step(image, stored),
        Step(
            "resize",
            _shape(resized.image),
            "uint8",
            resizing,
            photos=(_small(resized.image),),
            facts={"interpolation": card.recipe.interpolation, "fit": card.recipe.fit},
        ),
        Step(
            "crop",
            pixels.shape,
            "uint8",
            cropping,
            photos=kept if whole else (_outlined(resized), *kept),
            facts={"width": right - left, "height": bottom - top, "whole": whole},
        ),
    ]
    return steps, pixels


def _turn_step(image: DecodedImage, stored: Image.Image) -> Step:
    # Decoding turns at once: there is no time of its own to tell.
    turned = image.orientation != 1
    photos = (_small(stored), _small(image.pixels)) if turned else ()
    facts = {"orientation": image.orientation}
    return Step("turn", _shape(image.pixels), "uint8", None, photos=photos, facts=facts)


class Passed(NamedTuple):
    """One stage that was run.

    Attributes:
        piece: The stage and its graph.
        arrays: Its input and its outputs, by name.
        milliseconds: The shortest time that it took.
    """

    piece: Piece
    arrays: Arrays
    milliseconds: float


def run_stages(model: Model, pixels: Pixels) -> Iterator[Passed]:
    """Runs the stages of a model's exact network one after the other, each by itself.

    Args:
        model: The network.
        pixels: uint8 [H, W, 3] of the model's input size.

    Raises:
        ModelError: The model is damaged.
        BackendError: The runtime failed.
    """
    given: NDArray[Any] = pixels[None]
    for piece in cut(model.read(GRAPH), model.card.architecture):
        session = open_session(piece.graph, THREADS)
        # The first run also makes room in memory: that is not the stage's own time.
        arrays = session.run({piece.source: given}, piece.outputs)
        times = []
        for _ in range(TIMED_RUNS):
            start = perf_counter()
            session.run({piece.source: given}, piece.outputs)
            times.append(_since(start))
        yield Passed(piece, arrays | {piece.source: given}, min(times))
        given = arrays[piece.stage.output]


def _stage_step(passed: Passed, card: Card, pixels: Pixels) -> Step:
    piece, arrays, milliseconds = passed
    stage = piece.stage
    given = arrays[stage.output][0]
    planes: tuple[Plane, ...] = ()
    facts: dict[str, Any] = {"source": list(arrays[piece.source].shape[1:])}
    if stage.kind == "normalize":
        planes = tuple(plane(channel, number) for number, channel in enumerate(given))
        facts |= _normalizing(card, pixels, given)
    elif given.ndim == 3:
        planes = tuple(plane(given[i], i) for i in strongest(given, SHOWN_CHANNELS))
    return Step(
        stage.kind,
        arrays[stage.output].shape,
        str(given.dtype),
        milliseconds,
        tensor=stage.output,
        planes=planes,
        additions=tuple(_addition(block, arrays) for block in stage.blocks),
        values=given if given.ndim == 1 else None,
        facts=facts,
    )


def _addition(block: Block, arrays: Arrays) -> Addition:
    source, branch, total = (arrays[name][0] for name in (block.source, block.branch, block.total))
    # The channel to which the block adds most shows best what it does.
    (channel,) = strongest(branch, 1)
    shown = [tensor[channel] for tensor in (source, branch, total)]
    low, high = min(float(s.min()) for s in shown), max(float(s.max()) for s in shown)
    first, second, third = (plane(each, channel, low, high) for each in shown)
    length = float(np.linalg.norm(source.astype(np.float64)))
    ratio = float(np.linalg.norm(branch.astype(np.float64))) / length if length else 0.0
    return Addition(block.name, ratio, (first, second, third))


def _normalizing(card: Card, pixels: Pixels, given: NDArray[np.float32]) -> dict[str, Any]:
    """Tells the formula, with the red of the pixel in the middle as an example."""
    middle = len(pixels) // 2
    return {
        "mean": list(card.mean),
        "std": list(card.std),
        "byte": int(pixels[middle, middle, 0]),
        "value": float(given[0, middle, middle]),
    }


def _outlined(resized: Resized) -> Pixels:
    """Returns the resized picture, with what the crop leaves out darkened."""
    pixels = np.asarray(resized.image) // 3
    left, top, right, bottom = resized.box
    pixels[top:bottom, left:right] = np.asarray(resized.kept())
    return _small(Image.fromarray(pixels))


def _small(image: Image.Image) -> Pixels:
    small = image.copy()
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return np.asarray(small)


def _shape(image: Image.Image) -> tuple[int, int, int]:
    return image.height, image.width, len(image.getbands())


def _since(start: float) -> float:
    return 1000 * (perf_counter() - start)
