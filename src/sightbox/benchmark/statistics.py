"""Figures of samples that were taken in rounds: how long, how sure, and what differs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

SEED = 0
"""The bootstrap's: the same samples always give the same figures."""

RESAMPLES = 1000
"""Times that samples are drawn anew."""

CONFIDENCE = 0.95

LEAST_EFFECT = 0.05
"""Smallest change that is told, as a part: two runs of one program differ by as much, since memory
is laid out anew (Mytkowicz et al. 2009, "Producing wrong data without doing anything obviously
wrong")."""

FARTHEST = math.log(1000)
"""Farthest that an interval of a logarithm reaches: a factor of 1000 says that nothing is known."""

Rounds = Sequence[Sequence[float]]
"""Samples, one sequence for each round; all rounds have as many."""


@dataclass(frozen=True)
class Summary:
    """Figures of samples, in their unit.

    Attributes:
        count: How many samples.
        mean: Their mean.
        median: Their median.
        p90: The smallest sample that nine of ten do not exceed; no value in between is made up.
        p99: Likewise for 99 of 100.
        low: Lower end of the median's 95 % interval: Student's t, with the deviation that the
            bootstrap finds; not below the least sample.
        high: Upper end, not above the largest sample.
    """

    count: int
    mean: float
    median: float
    p90: float
    p99: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Width of the interval as a part of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Change:
    """How the median of samples changed.

    Attributes:
        ratio: New median / old median.
        low: Lower end of the ratio's interval.
        high: Upper end.
    """

    ratio: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether it surely rose, by `LEAST_EFFECT` at least."""
        return self.ratio >= 1 + LEAST_EFFECT and self.low > 1

    @property
    def faster(self) -> bool:
        """Whether it surely fell, by as much."""
        return self.ratio <= 1 / (1 + LEAST_EFFECT) and self.high < 1


def summary(rounds: Rounds) -> Summary:
    """Returns the figures of samples; there is at least one."""
    samples = np.sort(np.concatenate([np.asarray(each, np.float64) for each in rounds]))
    median = float(np.median(samples))
    reach = _reach((1 + CONFIDENCE) / 2, len(rounds) - 1, _deviation(rounds))
    p90, p99 = np.quantile(samples, [0.9, 0.99], method="inverted_cdf")
    return Summary(
        len(samples),
        float(samples.mean()),
        median,
        float(p90),
        float(p99),
        max(float(samples[0]), median * math.exp(-reach)),
        min(float(samples[-1]), median * math.exp(reach)),
    )


def change(before: Rounds, after: Rounds, comparisons: int = 1) -> Change:
    """Compares the medians of two runs; samples are above 0.

    The ratio's interval is that of Student's t, for its logarithm, with the deviation that the
    bootstrap finds and as many degrees of freedom as there are rounds beyond the first ones.

    Args:
        before: The old samples.
        after: The new ones.
        comparisons: How many are made at once: the interval of each grows, so that all of them
            together find nothing where there is nothing as often as one alone (Bonferroni).
    """
    ratio = math.log(float(np.median(after)) / float(np.median(before)))
    spread = math.hypot(_deviation(before), _deviation(after))
    reach = _reach(1 - (1 - CONFIDENCE) / 2 / comparisons, len(before) + len(after) - 2, spread)
    return Change(math.exp(ratio), math.exp(ratio - reach), math.exp(ratio + reach))


def without(found: Change, yardstick: Change) -> Change:
    """Returns a change as it is beside that of the yardstick, which stands for the machine."""
    ratio = math.log(found.ratio / yardstick.ratio)
    reaches = (math.log(each.high / each.ratio) for each in (found, yardstick))
    reach = min(FARTHEST, math.hypot(*reaches))
    return Change(math.exp(ratio), math.exp(ratio - reach), math.exp(ratio + reach))


def _reach(part: float, freedom: int, deviation: float) -> float:
    """Returns how far an interval reaches to either side."""
    return min(FARTHEST, _student(part, max(1, freedom)) * deviation)


def _student(part: float, freedom: int) -> float:
    """Returns a quantile of Student's t (Abramowitz and Stegun 1964, 26.7.5, its first terms)."""
    z = NormalDist().inv_cdf(part)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _deviation(rounds: Rounds) -> float:
    """Returns the standard deviation of the median as a part of it, which is that of its logarithm.

    Few rounds show less than the whole of their spread; the factor makes up for it.
    """
    factor = math.sqrt(len(rounds) / (len(rounds) - 1)) if len(rounds) > 1 else 1.0
    medians = _medians(rounds)
    middle = float(np.median(medians))
    return factor * float(medians.std()) / middle if middle else 0.0


def _medians(rounds: Rounds) -> NDArray[np.float64]:
    """Draws rounds with replacement, and returns the medians of their samples.

    Rounds are drawn and not samples, for those of one round are alike: what else the machine did
    then hit all of them (Kalibera and Jones 2013, "Rigorous benchmarking in reasonable time").
    """
    rng = np.random.default_rng(SEED)
    samples = np.asarray(rounds, np.float64)
    count = len(samples)
    drawn = samples[rng.integers(count, size=(RESAMPLES, count))]
    return np.asarray(np.median(drawn.reshape(RESAMPLES, -1), axis=1))
