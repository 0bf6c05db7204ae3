"""Softmax and top-k."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sightbox.prediction import (
    ImageInfo,
    ModelInfo,
    Prediction,
    Timings,
    softmax,
    top_k,
)

LOGITS = arrays.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1e4, 1e4, width=32, allow_nan=False)
)


@given(LOGITS)
def test_softmax_sums_to_one_and_keeps_the_order(logits: np.ndarray) -> None:
    scores = softmax(logits)
    assert scores.sum() == pytest.approx(1, abs=1e-12)
    assert (np.diff(scores[np.argsort(logits)]) >= 0).all()


def test_softmax_of_huge_logits_does_not_overflow() -> None:
    assert softmax(np.array([1e30, 0, -1e30], np.float32)).tolist() == [1, 0, 0]


def test_softmax_works_on_batches() -> None:
    batch = softmax(np.zeros((3, 4), np.float32))
    assert batch.tolist() == [[0.25] * 4] * 3


@given(LOGITS, st.integers(0, 300))
def test_top_k_is_the_head_of_a_stable_sort(logits: np.ndarray, k: int) -> None:
    expected = np.argsort(-logits, kind="stable")[:k]
    assert top_k(logits, k).tolist() == expected.tolist()


def test_top_k_breaks_ties_by_index() -> None:
    assert top_k(np.array([1.0, 2, 2, 2, 0]), 2).tolist() == [1, 2]


def test_top_of_an_empty_answer_is_a_lookup_error() -> None:
    nothing = Prediction(
        ModelInfo("m", "fp32", "dummy"), (), Timings(0, 0, 0, 0, 0), ImageInfo(1, 1, None)
    )
    with pytest.raises(LookupError, match="least score"):
        _ = nothing.top
