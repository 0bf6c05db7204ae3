"""Temperature scaling and thresholds, against independent computations from the logits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sightbox.accuracy import Outcome, Tally, wilson
from sightbox.prediction import softmax
from sightbox.temperature import (
    FOLDS,
    PLAIN,
    TEMPERATURES,
    Fit,
    Fitting,
    curve,
    least_pictures,
)

Logits = NDArray[np.float32]
Targets = NDArray[np.int64]


def drawn(pictures: int, temperature: float, seed: int = 3) -> tuple[Logits, Targets]:
    """Draws logits whose targets are as likely as softmax at `temperature` says."""
    chance = np.random.default_rng(seed)
    logits = (chance.normal(size=(pictures, 10)) * 4).astype(np.float32)
    shares = softmax(logits, temperature).cumsum(axis=1)
    targets = (chance.random((pictures, 1)) > shares).sum(axis=1)
    return logits, np.minimum(targets, 9)


def fit(logits: Logits, targets: Targets, precision: float = 0.9) -> Fit:
    fitting = Fitting()
    for one, target in zip(logits, targets, strict=True):
        fitting.add(curve(one, int(target)), right=bool(one.argmax() == target))
    return fitting.fit(precision)


def loss(logits: Logits, targets: Targets, temperature: float) -> float:
    shares = softmax(logits, temperature)
    return float(-np.log(shares[np.arange(len(targets)), targets]).mean())


def promise(right: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float) -> float:
    """Returns the lower end of the interval of what is right from a threshold on."""
    kept = scores >= threshold
    return wilson(int(right[kept].sum()), int(kept.sum())).low


def test_one_is_among_the_temperatures_and_plain() -> None:
    assert TEMPERATURES[PLAIN] == 1
    assert (TEMPERATURES[0], TEMPERATURES[-1]) == (0.25, 4)


def test_curve_is_the_softmax_at_each_temperature() -> None:
    logits, targets = drawn(20, 1)
    for one, target in zip(logits, targets, strict=True):
        told = curve(one, int(target))
        for place in (0, PLAIN, 100):
            shares = softmax(one, TEMPERATURES[place])
            assert np.exp(told.first[place]) == pytest.approx(shares.max(), rel=1e-5)
            right = told.first[place] - told.gap / TEMPERATURES[place]
            assert right == pytest.approx(np.log(shares[target]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_that_made_the_targets_is_found(temperature: float) -> None:
    logits, targets = drawn(4000, temperature)
    found = fit(logits, targets)
    assert found.temperature == pytest.approx(temperature, rel=0.08)
    # No temperature of a much finer choice is worth more than a ten-thousandth of a nat.
    finest = min(loss(logits, targets, t) for t in np.linspace(0.3, 3, 541))
    assert loss(logits, targets, found.temperature) - finest < 1e-4
    assert found.after.error < 0.03
    assert (found.before.error > 0.05) == (temperature != 1)


def test_figures_are_those_of_folds_that_were_not_fitted_to() -> None:
    """Cross-validates once more, the long way, from the logits themselves."""
    logits, targets = drawn(300, 0.6)
    found = fit(logits, targets, 0.8)
    right = logits.argmax(axis=1) == targets
    fold = np.arange(300) % FOLDS
    losses, tally, answered, kept = 0.0, Tally(), 0, 0
    for each in range(FOLDS):
        mine, others = fold == each, fold != each
        best = min(TEMPERATURES, key=lambda t: loss(logits[others], targets[others], t))
        scores = softmax(logits, float(best)).max(axis=1)
        steps = np.floor(scores * 1000) / 1000
        lows = [
            s for s in np.unique(steps[others]) if promise(right[others], steps[others], s) >= 0.8
        ]
        losses += loss(logits[mine], targets[mine], float(best)) * mine.sum()
        if lows:
            answered += int((steps[mine] >= lows[0]).sum())
            kept += int(right[mine][steps[mine] >= lows[0]].sum())
        for score, ok in zip(scores[mine], right[mine], strict=True):
            tally.add(Outcome("x", 1, (1 if ok else 2,), float(score)))
    assert found.after.loss == pytest.approx(losses / 300, rel=1e-5)
    assert found.after.error == pytest.approx(tally.calibration_error(), rel=1e-4)
    assert (found.after.answered.hits, found.after.right.hits) == (answered, kept)


def test_threshold_is_the_lowest_score_that_keeps_the_precision() -> None:
    logits, targets = drawn(1000, 0.8)
    found = fit(logits, targets, 0.9)
    assert found.threshold is not None
    scores = softmax(logits, found.temperature).max(axis=1)
    right = logits.argmax(axis=1) == targets
    kept = scores >= found.threshold
    assert found.kept == wilson(int(right[kept].sum()), int(kept.sum()))
    assert found.kept.low >= 0.9
    lower = scores[scores < found.threshold]
    for score in np.sort(lower)[::-1][::20]:
        assert promise(right, scores, np.floor(score * 1000) / 1000) < 0.9


def test_few_pictures_promise_nothing_however_right() -> None:
    logits = np.zeros((60, 4), np.float32)
    logits[:, 0] = np.linspace(1, 9, 60)
    found = fit(logits, np.zeros(60, np.int64), 0.95)
    assert found.threshold is None
    assert (found.kept.hits, found.kept.of) == (60, 60)
    assert found.at_the_edge


@pytest.mark.parametrize(("precision", "pictures"), [(0.9, 35), (0.95, 73), (0.99, 381)])
def test_least_pictures_are_just_enough(precision: float, pictures: int) -> None:
    assert least_pictures(precision) == pictures
    assert wilson(pictures, pictures).low >= precision > wilson(pictures - 1, pictures - 1).low


def test_certainty_cannot_be_promised() -> None:
    assert least_pictures(1.0) is None
