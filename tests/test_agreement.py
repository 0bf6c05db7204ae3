"""The agreement report."""

import numpy as np
import pytest

from sightbox.agreement import Agreement, compare
from sightbox.errors import ModelError, RequestError


def logits(*winners: int) -> np.ndarray:
    """Returns logits of 8 classes in which the given ones win."""
    rows = np.tile(np.arange(8, 0, -1, dtype=np.float32), (len(winners), 1))
    rows[np.arange(len(winners)), winners] = 20
    return rows


def test_same_answers_agree_wholly() -> None:
    report = compare(logits(1, 2, 3), logits(1, 2, 3))
    assert (report.images, report.top1, report.top5) == (3, 1, 1)
    assert (report.mean_change, report.largest_change) == (0, 0)
    assert report.accuracy_before is None


def test_agreement_is_counted() -> None:
    report = compare(logits(1, 2, 3, 4), logits(1, 2, 3, 0), np.array([1, 2, 0, 0]))
    assert report.top1 == 0.75
    assert report.largest_change == pytest.approx(1, abs=1e-4)
    assert report.mean_change == pytest.approx(0.25, abs=1e-4)
    assert (report.accuracy_before, report.accuracy_after) == (0.5, 0.75)
    assert report.passes(0.75)
    assert not report.passes(0.76)


def test_five_most_likely_are_compared_as_a_set() -> None:
    exact = np.array([[9, 8, 7, 6, 5, 0, 0, 0]], np.float32)
    turned = np.array([[5, 6, 7, 8, 9, 0, 0, 0]], np.float32)
    other = np.array([[9, 8, 7, 0, 0, 6, 5, 0]], np.float32)
    assert compare(exact, turned).top5 == 1
    assert compare(exact, other).top5 == pytest.approx(0.6)


@pytest.mark.parametrize("fast", [logits(1), np.zeros((2, 3), np.float32)])
def test_different_shapes_are_refused(fast: np.ndarray) -> None:
    with pytest.raises(RequestError, match="cannot be compared"):
        compare(logits(1, 2), fast)


def test_report_survives_json() -> None:
    report = compare(logits(1, 2), logits(1, 3), np.array([1, 2]))
    assert Agreement.from_json(report.to_json()) == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 1}', '{"shape": 1}'])
def test_damaged_report_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError, match="report is damaged"):
        Agreement.from_json(text)
