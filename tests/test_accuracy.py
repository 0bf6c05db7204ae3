"""The figures of an evaluation, against independent counts and published examples."""

import math
import random

import pytest

from sightbox.accuracy import WORST, Duel, Outcome, Tally, most_confused, wilson


def outcome(target: int, guess: int, score: float = 0.5, path: str = "x") -> Outcome:
    return Outcome(path, target, (guess, 97, 98, 99, 100), score)


@pytest.fixture
def random_outcomes() -> list[Outcome]:
    chance = random.Random(7)
    return [
        outcome(chance.randrange(6), chance.randrange(6), chance.random(), f"{number}.jpg")
        for number in range(500)
    ]


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I,
        # method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_the_published_one(hits: int, of: int, low: float, high: float) -> None:
    rate = wilson(hits, of)
    assert [rate.low, rate.high] == pytest.approx([low, high], abs=5e-5)


def test_rate_of_nothing_is_anything() -> None:
    assert wilson(0, 0) == (0, 0, 0.0, 1.0)
    assert wilson(0, 0).part == 0


def test_counts_are_those_of_a_list(random_outcomes: list[Outcome]) -> None:
    tally = Tally()
    for one in random_outcomes:
        tally.add(one)
    right = [one.target == one.guesses[0] for one in random_outcomes]
    assert (tally.pictures, tally.top1) == (500, sum(right))
    for threshold in (0.0, 0.25, 0.5, 0.99):
        kept = [
            ok for ok, one in zip(right, random_outcomes, strict=True) if one.score >= threshold
        ]
        found = tally.coverage(threshold)
        assert (found.answered.hits, found.right.hits, found.right.of) == (
            len(kept),
            sum(kept),
            len(kept),
        )
    assert sum(found.pictures for found in tally.bins()) == 500
    assert sum(rate.hits for _, rate in tally.classes_from_weakest()) == sum(right)


def test_top5_counts_the_right_class_among_the_first_five() -> None:
    tally = Tally()
    tally.add(Outcome("a", 3, (1, 2, 3, 4, 5), 0.9))
    tally.add(Outcome("b", 6, (1, 2, 3, 4, 5), 0.9))
    assert (tally.top1, tally.top5) == (0, 1)


def test_calibration_error_is_the_gap_between_score_and_accuracy() -> None:
    tally = Tally()
    for number in range(10):
        tally.add(outcome(1, 1 if number < 6 else 2, score=0.9))
    for _ in range(10):
        tally.add(outcome(1, 1, score=1.0))
    # Both lie in the bins from 13/15 on: 0.9 in the 14th, 1.0 in the last.
    assert tally.calibration_error() == pytest.approx(0.5 * abs(0.6 - 0.9) + 0.5 * 0)
    assert [found.pictures for found in tally.bins()] == [10, 10]


def test_worst_mistakes_are_the_surest(random_outcomes: list[Outcome]) -> None:
    tally = Tally()
    for one in random_outcomes:
        tally.add(one)
    wrong = [one for one in random_outcomes if not one.right]
    expected = sorted(wrong, key=lambda one: -one.score)[:WORST]
    assert tally.worst == expected


def test_confused_pairs_come_by_number() -> None:
    tally = Tally()
    for target, guess, times in ((1, 2, 3), (2, 1, 5), (4, 4, 9)):
        for _ in range(times):
            tally.add(outcome(target, guess))
    assert most_confused(tally, 5) == [(2, 1, 5), (1, 2, 3)]


def test_class_with_one_mistake_does_not_hide_the_weak_ones() -> None:
    tally = Tally()
    tally.add(outcome(1, 2))
    for number in range(40):
        tally.add(outcome(2, 2 if number < 3 else 1))
    assert [index for index, _ in tally.classes_from_weakest()] == [2, 1]


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 1), (5, 0), (12, 3), (400, 330)])
def test_mcnemar_is_the_two_sided_binomial_test(first: int, second: int) -> None:
    duel = Duel(first=first, second=second)
    count = first + second
    tail = sum(math.comb(count, k) for k in range(min(first, second) + 1)) * 0.5**count
    assert duel.p_value() == pytest.approx(min(1.0, 2 * tail))


def test_duel_sorts_pictures_by_who_is_right() -> None:
    duel = Duel()
    for one, other in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3)):
        duel.add(outcome(1, one), outcome(1, other))
    assert (duel.both, duel.first, duel.second, duel.neither, duel.same) == (1, 1, 1, 2, 2)


def test_certain_score_has_its_place() -> None:
    tally = Tally()
    tally.add(outcome(1, 1, score=1.0))
    assert tally.coverage(1.0).answered.hits == 1
