"""Temperature scaling, and the threshold from which an answer is sure, from labelled pictures.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2: one temperature, by which
all logits are divided, is chosen so that the negative log-likelihood of the right classes is least.
It changes no order, and so no first class.

Logits are not kept. What is needed of them is counted for each of `TEMPERATURES` as the pictures
come, so that memory does not grow with their number. What is told of the result was measured on
pictures that it was not fitted to: every picture is in one of `FOLDS`, and each fold is judged by
what the others gave (cross-validation).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightbox.accuracy import BINS, CONFIDENCE, STEPS, Rate, wilson

TEMPERATURES = np.exp2(np.linspace(-2, 2, 121))
"""Those that are tried, from 1/4 to 4, each 2.3 % above the one before it; 1 is among them. The
likelihood is so flat around its best that a finer choice would change no figure that is told."""

_INVERSE = (1 / TEMPERATURES).astype(np.float32)

PLAIN = len(TEMPERATURES) // 2
"""The place of 1 among `TEMPERATURES`: plain softmax."""

FOLDS = 10
"""Parts of the pictures; nine of them judge the tenth."""

Counts = NDArray[np.integer]


class Curve(NamedTuple):
    """All that is needed of a picture's logits.

    Attributes:
        gap: How far the right class's logit is below the largest one; 0 when it is that one.
        first: Logarithm of the first class's probability at each of `TEMPERATURES`, [G].
    """

    gap: float
    first: NDArray[np.floating]


def curve(logits: NDArray[np.float32], target: int) -> Curve:
    """Returns what is needed of logits, float32 [C], whose right class is `target`."""
    below = logits - logits.max()
    # The first class's own exponential is 1, so that its probability is 1 over the sum.
    sums = np.exp(below * _INVERSE[:, None]).sum(axis=1)
    return Curve(float(-below[target]), -np.log(sums))


@dataclass(frozen=True)
class Measured:
    """How scores behaved on pictures that they were not fitted to.

    Attributes:
        loss: Mean negative log-likelihood of the right class, in nats.
        error: Expected calibration error over `BINS` bins, 0 to 1.
        answered: Pictures whose score reached the threshold.
        right: How many of those were right.
    """

    loss: float
    error: float
    answered: Rate
    right: Rate


@dataclass(frozen=True)
class Fit:
    """What was fitted to all pictures, and how the same does on pictures it did not see.

    Attributes:
        temperature: The best of `TEMPERATURES`.
        threshold: The lowest score from which the wanted precision is kept; None where it cannot be
            promised.
        kept: Of all pictures, how many reach the threshold and how many of those are right; where
            there is none, those of which most can be promised.
        pictures: How many pictures there were.
        before: Plain softmax, with thresholds of its own for the same precision.
        after: With the temperature. Both by cross-validation.
    """

    temperature: float
    threshold: float | None
    kept: Rate
    pictures: int
    before: Measured
    after: Measured

    @property
    def at_the_edge(self) -> bool:
        """Whether the best temperature may lie beyond those that were tried."""
        return self.temperature in {TEMPERATURES[0], TEMPERATURES[-1]}


class Fitting:
    """Takes pictures one by one, then fits; holds counts alone."""

    def __init__(self) -> None:
        shape = FOLDS, len(TEMPERATURES)
        self._pictures = np.zeros(FOLDS, np.int64)
        self._losses = np.zeros(shape)
        # By score: how many pictures, and how many of them right.
        self._steps = np.zeros((*shape, STEPS + 1, 2), np.int32)
        # By score, more coarsely: how many, the sum of their scores, and how many right.
        self._bins = np.zeros((*shape, BINS, 3))

    def add(self, told: Curve, *, right: bool) -> None:
        """Counts one picture.

        Pictures go to the folds in turn, so that a folder for each class is in all of them.

        Args:
            told: What `curve` made of its logits.
            right: Whether its first class is the right one.
        """
        fold = int(self._pictures.sum()) % FOLDS
        scores = np.exp(told.first)
        each = np.arange(len(TEMPERATURES))
        self._pictures[fold] += 1
        self._losses[fold] += told.gap / TEMPERATURES - told.first
        self._steps[fold, each, (scores * STEPS).astype(int)] += (1, right)
        bins = np.minimum(BINS - 1, (scores * BINS).astype(int))
        self._bins[fold, each, bins, 0] += 1
        self._bins[fold, each, bins, 1] += scores
        self._bins[fold, each, bins, 2] += right

    @property
    def pictures(self) -> int:
        """How many pictures were counted."""
        return int(self._pictures.sum())

    def fit(self, precision: float) -> Fit:
        """Returns the best temperature, and the lowest threshold for a precision.

        A threshold keeps a precision when the lower end of the Wilson interval of what is right
        above it does: few pictures do not promise much.

        Args:
            precision: The part of the sure answers that is to be right, 0 to 1.
        """
        everyone = np.ones(FOLDS, bool)
        best = self._best_temperature(everyone)
        step, kept = _lowest(self._steps[:, best].sum(axis=0), precision)
        return Fit(
            float(TEMPERATURES[best]),
            None if step is None else step / STEPS,
            kept,
            self.pictures,
            self._judged(precision, scaled=False),
            self._judged(precision, scaled=True),
        )

    def _best_temperature(self, folds: NDArray[np.bool_]) -> int:
        return int(self._losses[folds].sum(axis=0).argmin())

    def _judged(self, precision: float, *, scaled: bool) -> Measured:
        """Judges each fold by what the others give."""
        loss, answered, right = 0.0, 0, 0
        bins = np.zeros((BINS, 3))
        for fold in range(FOLDS):
            others = np.arange(FOLDS) != fold
            place = self._best_temperature(others) if scaled else PLAIN
            loss += self._losses[fold, place]
            bins += self._bins[fold, place]
            step, _ = _lowest(self._steps[others, place].sum(axis=0), precision)
            if step is not None:
                above = self._steps[fold, place, step:].sum(axis=0)
                answered, right = answered + int(above[0]), right + int(above[1])
        error = float(np.abs(bins[:, 1] - bins[:, 2]).sum()) / self.pictures
        rates = wilson(answered, self.pictures), wilson(right, answered)
        return Measured(float(loss) / self.pictures, error, *rates)


def least_pictures(precision: float) -> int | None:
    """Returns how many pictures, all right, it takes to promise a precision; None for certainty.

    Of n right ones out of n the lower end of the Wilson interval is n / (n + z²).
    """
    if precision >= 1:
        return None
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    return math.ceil(precision * z * z / (1 - precision))


def _lowest(steps: Counts, precision: float) -> tuple[int | None, Rate]:
    """Returns the lowest step from which a precision is kept, and what is right from there on.

    Args:
        steps: For each step of the score, how many pictures and how many right ones, [S, 2].
        precision: 0 to 1.

    Returns:
        None for the step where none keeps it; the rate is the one that promises most then.
    """
    above = steps[::-1].cumsum(axis=0)[::-1]
    # Where a picture lies, for between two of them nothing changes.
    occupied = np.flatnonzero(steps[:, 0])
    rates = [(int(step), wilson(int(above[step, 1]), int(above[step, 0]))) for step in occupied]
    for step, rate in rates:
        if rate.low >= precision:
            return step, rate
    return None, max((rate for _, rate in rates), key=lambda rate: rate.low, default=wilson(0, 0))
