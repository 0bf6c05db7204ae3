"""How right answers are: rates with their intervals, calibration, coverage, and a test of two.

Everything is counted as the answers come, so that memory does not grow with their number.
"""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95
"""Of every interval."""

BINS = 15
"""Of the calibration: Guo et al. 2017, "On Calibration of Modern Neural Networks", table 1."""

STEPS = 1000
"""Into which scores are counted, for the coverage above a threshold."""

WORST = 40
"""Mistakes that are kept: those that the model was most sure of."""

TOP = 5
"""Classes among which the right one may be to count as found."""


class Outcome(NamedTuple):
    """What a model said of one picture.

    Attributes:
        path: Where the picture is.
        target: Its right class.
        guesses: The most likely classes, `TOP` of them, the first one first.
        score: Probability of the first one, 0 to 1.
    """

    path: str
    target: int
    guesses: tuple[int, ...]
    score: float

    @property
    def right(self) -> bool:
        """Whether the first guess is the right class."""
        return self.guesses[:1] == (self.target,)


class Rate(NamedTuple):
    """A part of a number of pictures, with its interval of `CONFIDENCE`.

    Attributes:
        hits: How many.
        of: Out of how many.
        low: Lower end of the interval, 0 to 1.
        high: Its upper end.
    """

    hits: int
    of: int
    low: float
    high: float

    @property
    def part(self) -> float:
        """The part itself, 0 to 1; 0 out of none."""
        return self.hits / self.of if self.of else 0.0


def wilson(hits: int, of: int) -> Rate:
    """Returns a rate with its score interval.

    It keeps within 0 and 1 and holds for few pictures too (Wilson 1927, "Probable Inference, the
    Law of Succession, and Statistical Inference", in the form of Agresti and Coull 1998, eq. 2).
    """
    if of == 0:
        return Rate(0, 0, 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    part = hits / of
    middle = part + z * z / (2 * of)
    reach = z * math.sqrt(part * (1 - part) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return Rate(hits, of, max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale))


class Bin(NamedTuple):
    """One bin of the calibration: pictures whose score lies in it, and their mean score."""

    low: float
    high: float
    pictures: int
    score: float
    accuracy: float


class Coverage(NamedTuple):
    """What is left when only scores from a threshold on count as answers."""

    threshold: float
    answered: Rate
    right: Rate


@dataclass
class Tally:
    """Counts outcomes.

    Attributes:
        pictures: How many there were.
        top1: How many had the right class first.
        top5: How many had it among the first `TOP`.
        classes: For each class that occurred, how many pictures, and how many were right.
        confusions: How often one class was taken for another, by target and guess.
        worst: The mistakes that the model was most sure of, the surest first.
    """

    pictures: int = 0
    top1: int = 0
    top5: int = 0
    classes: dict[int, list[int]] = field(default_factory=dict)
    confusions: Counter[tuple[int, int]] = field(default_factory=Counter)
    _scores: list[list[float]] = field(default_factory=lambda: [[0, 0, 0] for _ in range(BINS)])
    _steps: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(STEPS + 1)])
    _worst: list[tuple[float, int, Outcome]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Counts one picture."""
        right = outcome.right
        self.pictures += 1
        self.top1 += right
        self.top5 += outcome.target in outcome.guesses[:TOP]
        seen = self.classes.setdefault(outcome.target, [0, 0])
        seen[0] += 1
        seen[1] += right
        place = self._scores[min(BINS - 1, int(outcome.score * BINS))]
        place[0] += 1
        place[1] += outcome.score
        place[2] += right
        step = self._steps[int(outcome.score * STEPS)]
        step[0] += 1
        step[1] += right
        if not right:
            self.confusions[outcome.target, outcome.guesses[0]] += 1
            # The number breaks ties: the earlier mistake stays.
            keep = (outcome.score, -self.pictures, outcome)
            (heapq.heappush if len(self._worst) < WORST else heapq.heappushpop)(self._worst, keep)

    @property
    def worst(self) -> list[Outcome]:
        """The mistakes that the model was most sure of, the surest first."""
        return [outcome for *_, outcome in sorted(self._worst, reverse=True)]

    def rate(self, hits: int) -> Rate:
        """Returns a number of the pictures as a rate of all of them."""
        return wilson(hits, self.pictures)

    def classes_from_weakest(self) -> list[tuple[int, Rate]]:
        """Returns each class that occurred with how often it was named rightly.

        They are ordered by the upper end of the interval: a class with one picture, named wrongly,
        does not come before one with 3 of 40.
        """
        rates = [(index, wilson(right, of)) for index, (of, right) in self.classes.items()]
        return sorted(rates, key=lambda item: (item[1].high, item[0]))

    def bins(self) -> list[Bin]:
        """Returns how right the model is where it is how sure, without empty bins."""
        return [
            Bin(number / BINS, (number + 1) / BINS, int(count), total / count, right / count)
            for number, (count, total, right) in enumerate(self._scores)
            if count
        ]

    def calibration_error(self) -> float:
        """Returns the expected calibration error (Guo et al. 2017, equation 3), 0 to 1."""
        gaps = (found.pictures * abs(found.accuracy - found.score) for found in self.bins())
        return sum(gaps) / self.pictures if self.pictures else 0.0

    def coverage(self, threshold: float) -> Coverage:
        """Returns what is left when only scores from a threshold on count as answers.

        Args:
            threshold: 0 to 1, in steps of 1 / `STEPS`.
        """
        steps = self._steps[round(threshold * STEPS) :]
        answered, right = (sum(step[which] for step in steps) for which in (0, 1))
        return Coverage(threshold, wilson(answered, self.pictures), wilson(right, answered))


@dataclass
class Duel:
    """Counts where two ways to answer differ in being right.

    Attributes:
        both: Pictures that both name rightly.
        first: Pictures that only the first one does.
        second: Pictures that only the second one does.
        neither: The others.
        same: Pictures of which both say the same.
    """

    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0
    same: int = 0

    def add(self, one: Outcome, other: Outcome) -> None:
        """Counts one picture."""
        kinds = {(True, True): "both", (True, False): "first", (False, True): "second"}
        kind = kinds.get((one.right, other.right), "neither")
        setattr(self, kind, getattr(self, kind) + 1)
        self.same += one.guesses[:1] == other.guesses[:1]

    def p_value(self) -> float:
        """Returns how likely such a difference, or a larger one, is by chance.

        It is McNemar's test in its exact form: the pictures on which just one is right fall to
        either side like coins (McNemar 1947; Dietterich 1998, section 3.1).
        """
        differing, fewer = self.first + self.second, min(self.first, self.second)
        ways = tail = 1
        for count in range(fewer):
            ways = ways * (differing - count) // (count + 1)
            tail += ways
        return min(1.0, 2 * tail / (1 << differing))


def most_confused(tally: Tally, count: int) -> list[tuple[int, int, int]]:
    """Returns the pairs of classes that were confused most, as target, guess and how often."""
    ranked = sorted(tally.confusions.items(), key=lambda item: (-item[1], item[0]))
    return [(target, guess, times) for (target, guess), times in ranked[:count]]
