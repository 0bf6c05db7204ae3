"""Logits to the best classes: softmax, top-k, and the frozen result."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import RequestError
from sightbox.labels import Labels


@dataclass(frozen=True)
class Score:
    """One class and its probability.

    Attributes:
        index: Class number of the model, from 0.
        wnid: WordNet id, such as ``n02123045``; None for classes that have none.
        label: Name of the class by language code.
        score: Softmax probability, 0..1.
    """

    index: int
    wnid: str | None
    label: Mapping[str, str]
    score: float


@dataclass(frozen=True)
class ModelInfo:
    """Which network spoke: its name, the variant of it, and the runtime that ran it."""

    name: str
    variant: str
    backend: str


@dataclass(frozen=True)
class ImageInfo:
    """The picture as it was seen: upright size in pixels, and its file format if it had one."""

    width: int
    height: int
    format: str | None


@dataclass(frozen=True)
class Timings:
    """Where the time went, in milliseconds; `total` is wall time and not only their sum."""

    decode: float
    preprocess: float
    queue: float
    infer: float
    total: float


@dataclass(frozen=True)
class Region:
    """A part of the upright picture, in its pixels; it may reach beyond the picture's edges."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class ClassMap:
    """Where in a picture the evidence for a class is.

    Attributes:
        index: Class number of the model.
        logit: The mean of the values and the class's bias: what the network says of the class.
        values: Rows of the map, top to bottom; each says how much its place adds to the logit, and
            is negative where it speaks against the class.
    """

    index: int
    logit: float
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Explanation:
    """Why the classes were named.

    Attributes:
        region: The part of the picture that the network saw, which each map covers.
        maps: One for each class of the prediction, in its order.
    """

    region: Region
    maps: tuple[ClassMap, ...]


@dataclass(frozen=True)
class Prediction:
    """What a picture shows.

    Attributes:
        model: Which network spoke.
        predictions: The best classes, the most likely one first; may be empty when a least score
            was asked for.
        timings_ms: Where the time went.
        image: The picture as it was seen.
        explanation: Why these classes were named, where that was asked for.
        sure: Whether the most likely class reaches the threshold in the model's card; None where
            the card has none. What a least score leaves nothing of is not sure.
    """

    model: ModelInfo
    predictions: tuple[Score, ...]
    timings_ms: Timings
    image: ImageInfo
    explanation: Explanation | None = None
    sure: bool | None = None

    @property
    def top(self) -> Score:
        """The most likely class.

        Raises:
            LookupError: No class reached the least score.
        """
        if not self.predictions:
            raise LookupError("No class reached the least score.")
        return self.predictions[0]


def check_wanted(top_k: int, min_score: float) -> None:
    """Checks how many classes are wanted, and how likely they are to be.

    Raises:
        RequestError: `top_k` is no whole number from 1 up, or `min_score` not within 0 and 1.
    """
    if not isinstance(top_k, int) or top_k < 1:
        raise RequestError(f"top_k is {top_k!r}; it must be a whole number, at least 1.")
    if not isinstance(min_score, int | float) or not 0 <= min_score <= 1:
        raise RequestError(f"min_score is {min_score!r}; it must be a number from 0 to 1.")


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Returns probabilities along the last axis; each row sums to 1.

    Args:
        logits: Of any shape; the classes are its last axis.
        temperature: What the logits are divided by before; see `sightbox.calibration`.

    The largest logit is taken off first, so that no exponential overflows; float64 keeps the sum
    within 1e-12 of 1 (Goodfellow et al. 2016, section 4.1).
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted / temperature)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float64)


def top_k(values: NDArray[np.floating], k: int) -> NDArray[np.intp]:
    """Returns the indices of the `k` largest of `values` [C], largest first, ties by index.

    `k` may be larger than C; then all indices come back.
    """
    k = min(k, values.size)
    if k <= 0:
        return np.empty(0, np.intp)
    # Every value equal to the k-th largest stays a candidate, or ties would be cut at random.
    threshold = values[np.argpartition(values, -k)[-k]]
    candidates = np.flatnonzero(values >= threshold)
    return candidates[np.argsort(-values[candidates], kind="stable")][:k]


def best_scores(
    probabilities: NDArray[np.floating], labels: Labels, k: int, least: float = 0.0
) -> tuple[Score, ...]:
    """Returns the `k` most likely classes with their names, but none below `least`.

    Args:
        probabilities: [C].
        labels: The names of the C classes.
        k: At most this many.
        least: Least probability, 0 to 1.
    """
    return tuple(
        Score(int(index), labels.wnids[index], labels.of(int(index)), float(probabilities[index]))
        for index in top_k(probabilities, k)
        if probabilities[index] >= least
    )
