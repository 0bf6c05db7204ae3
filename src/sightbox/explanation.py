"""Why a class was named: class activation maps, exact and without gradients.

A network that ends in average pooling and one linear layer gives the logit of class ``c`` as
``mean over places of (sum over channels k of w[c, k] * maps[k, place]) + b[c]``. The inner sum is
the map of the class (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization",
section 2): it does not approximate the logit, it is the logit before its mean is taken.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.backends import Backend
from sightbox.errors import BackendError, ModelError, RequestError
from sightbox.graphs import HEADS
from sightbox.model import WEIGHTS, Model
from sightbox.patience import ENDLESS, Patience
from sightbox.pictures import PreparedPicture
from sightbox.prediction import ClassMap, Explanation, Region
from sightbox.preprocessing import seen_region
from sightbox.safetensors import load_safetensors

COLD, HOT = (255, 221, 51), (214, 26, 26)
"""Colours of the least and of the most evidence: yellow and red, also apart when printed grey."""

UNSEEN = 0.45
"""Brightness of what the network did not see, beside that of what it saw."""

Floats = NDArray[np.float32]


class Explainer:
    """Explains the answers of one network, one at a time and beside the queue.

    Explaining is for people who look, and must not take the turns of those who wait for answers.

    Args:
        model: The network.
        backend: What runs it, loaded.
    """

    def __init__(self, model: Model, backend: Backend) -> None:
        self._model = model
        self._backend = backend
        self._turn = threading.Lock()
        self._head: Head | None = None

    def explain(
        self, picture: PreparedPicture, classes: Sequence[int], patience: Patience = ENDLESS
    ) -> Explanation:
        """Says where in a picture the evidence for classes is.

        Args:
            picture: The picture.
            classes: Class numbers.
            patience: How long to wait for the turn.

        Raises:
            DeadlineError: The time was over before the turn came, or nobody waits any more.
            ModelError: The weights are damaged.
            BackendError: The engine failed, or gives no maps that belong to the weights.
        """
        with patience.holding(self._turn):
            if self._head is None:
                self._head = read_head(self._model)
            maps = self._backend.run(picture.pixels[None], ("maps",))["maps"][0]
        seen = picture.image
        region = Region(*seen_region(seen.width, seen.height, self._model.card.recipe))
        return Explanation(region, class_maps(maps, self._head, classes))


class Head(NamedTuple):
    """The last linear layer: weight float32 [C, D] and bias float32 [C]."""

    weight: Floats
    bias: Floats


def read_head(model: Model) -> Head:
    """Reads the last linear layer of a model.

    Raises:
        ModelError: The weights are damaged, or of a network that is not known.
    """
    name = HEADS.get(model.card.architecture)
    tensors = load_safetensors(model.read(WEIGHTS))
    try:
        return Head(tensors[f"{name}.weight"], tensors[f"{name}.bias"])
    except KeyError as error:
        raise ModelError(f"The model {model.card.name} has no tensor {error}.") from error


def class_maps(maps: Floats, head: Head, classes: Sequence[int]) -> tuple[ClassMap, ...]:
    """Computes the map of each class.

    Args:
        maps: The last feature maps of one picture, float32 [D, h, w].
        head: What follows their pooling.
        classes: Class numbers.

    Raises:
        BackendError: The backend gives no maps that belong to these weights.
    """
    if maps.shape[0] != head.weight.shape[1]:
        raise BackendError(
            f"The engine gives {maps.shape[0]} feature maps, the weights belong to "
            f"{head.weight.shape[1]}.",
            "Choose a backend that runs the network, such as onnxruntime.",
        )
    chosen = list(classes)
    # float64: what a mean of a thousand products loses in float32 would be seen.
    values = np.tensordot(head.weight[chosen].astype(np.float64), maps.astype(np.float64), 1)
    logits = values.mean(axis=(1, 2)) + head.bias[chosen]
    return tuple(
        ClassMap(index, float(logit), tuple(map(tuple, rows.tolist())))
        for index, logit, rows in zip(chosen, logits, values, strict=True)
    )


def overlay(
    image: Image.Image, class_map: ClassMap, region: Region, opacity: float = 0.6
) -> Image.Image:
    """Lays the evidence for a class over a picture; what the network did not see is darkened.

    Args:
        image: The upright picture, mode RGB.
        class_map: Where the evidence is. What speaks against the class is not shown.
        region: The part of the picture that the map covers.
        opacity: How much the strongest evidence covers, 0 to 1.

    Returns:
        A new picture of the same size, mode RGB.

    Raises:
        RequestError: The opacity is out of range.
    """
    if not 0 <= opacity <= 1:
        raise RequestError(f"The opacity is {opacity!r}; it must be a number from 0 to 1.")
    left, top = round(region.left), round(region.top)
    right, bottom = round(region.left + region.width), round(region.top + region.height)
    size = (max(1, right - left), max(1, bottom - top))
    evidence = np.maximum(np.asarray(class_map.values, np.float32), 0)
    strongest = evidence.max()
    if strongest > 0:
        evidence /= strongest
    spread = Image.fromarray(evidence).resize(size, Image.Resampling.BICUBIC)
    seen = Image.new("1", size, 1)
    heat, mask = Image.new("F", image.size), Image.new("1", image.size)
    heat.paste(spread, (left, top))
    mask.paste(seen, (left, top))
    strength = np.clip(np.asarray(heat), 0, 1)[..., None]
    shade = np.where(np.asarray(mask), 1, UNSEEN)[..., None]
    colour = np.asarray(COLD) * (1 - strength) + np.asarray(HOT) * strength
    covered = opacity * strength
    pixels = np.asarray(image) * shade * (1 - covered) + colour * covered
    return Image.fromarray(pixels.round().astype(np.uint8))
