"""The decode budget: what is decoded together never exceeds it, and nobody is passed over."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sightbox import Classifier
from sightbox.backends.dummy import DummyBackend
from sightbox.cli.classify import open_classifier
from sightbox.decoding.budget import DecodeBudget
from sightbox.decoding.decoder import Decoder, default_megapixels
from sightbox.errors import DeadlineError, ImageError, RequestError
from sightbox.patience import Patience
from sightbox.pictures import PreparedPicture
from sightbox.settings import load_settings

MEGA = 1_000_000


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


class Held:
    """A turn with so many pixels that is kept until it is let go."""

    def __init__(self, threads: ThreadPoolExecutor, budget: DecodeBudget, pixels: int) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self._budget, self._pixels = budget, pixels
        self.done: Future[None] = threads.submit(self._hold)

    def _hold(self) -> None:
        with self._budget.turn() as permit:
            permit(self._pixels)
            self.inside.set()
            self.go_on.wait()

    def let_go(self) -> None:
        self.go_on.set()
        self.done.result()


@contextmanager
def held(threads: ThreadPoolExecutor, budget: DecodeBudget, pixels: int) -> Iterator[None]:
    turn = Held(threads, budget, pixels)
    turn.inside.wait()
    try:
        yield
    finally:
        turn.let_go()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def test_pixels_decoded_together_never_exceed_the_budget(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=8, megapixels=10)
    rng = random.Random(0)
    sizes = [rng.choice([100_000, 1 * MEGA, 5 * MEGA, 9 * MEGA]) for _ in range(300)]
    lock, inside, peaks, counts = threading.Lock(), [0], [0], [0]

    def decode(pixels: int) -> None:
        with budget.turn() as permit:
            permit(pixels)
            with lock:
                inside.append(pixels)
                peaks.append(sum(inside))
                counts.append(len(inside) - 1)
            time.sleep(0)  # lets another thread run
            with lock:
                inside.remove(pixels)

    list(threads.map(decode, sizes))
    assert 9 * MEGA < max(peaks) <= 10 * MEGA
    assert 1 < max(counts) <= 8
    assert (budget.waiting, inside) == (0, [0])


def test_small_pictures_do_not_pass_a_large_one(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=16, megapixels=10)
    order: list[int] = []

    def decode(pixels: int) -> None:
        with budget.turn() as permit:
            permit(pixels)
            order.append(pixels)

    with held(threads, budget, 2 * MEGA):
        done = []
        for number, pixels in enumerate([9 * MEGA, 2 * MEGA, 2 * MEGA, 2 * MEGA], 1):
            done.append(threads.submit(decode, pixels))
            until(lambda number=number: budget.waiting == number)  # type: ignore[misc]
        assert order == []
    for each in done:
        each.result()
    assert order == [9 * MEGA, 2 * MEGA, 2 * MEGA, 2 * MEGA]


def test_pictures_that_fit_are_decoded_side_by_side(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=3, megapixels=10)
    with held(threads, budget, 5 * MEGA), held(threads, budget, 4 * MEGA):
        with held(threads, budget, 1 * MEGA):
            waits = Held(threads, budget, 1)  # the pixels are used up, and the places too
            until(lambda: budget.waiting == 1)
            assert not waits.inside.is_set()
        waits.inside.wait()
        waits.let_go()


def test_picture_above_the_budget_is_decoded_alone(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=2, megapixels=10)
    with held(threads, budget, 1):
        giant = Held(threads, budget, 50 * MEGA)
        until(lambda: budget.waiting == 1)
    giant.inside.wait()
    small = Held(threads, budget, 1)
    until(lambda: budget.waiting == 1)
    assert not small.inside.is_set()
    giant.let_go()
    small.let_go()


@pytest.mark.parametrize("pictures", [1, 2])  # the place is waited for, or the pixels
def test_wait_ends_at_its_deadline_and_leaves_nothing(
    threads: ThreadPoolExecutor, pictures: int
) -> None:
    budget = DecodeBudget(pictures, megapixels=1)
    with held(threads, budget, MEGA):
        with (
            pytest.raises(DeadlineError, match="max_wait and decode_megapixels"),
            budget.turn(Patience(time.monotonic())) as permit,
        ):
            permit(1)
        assert budget.waiting == 0
    with budget.turn() as permit:
        permit(MEGA)


def test_those_behind_who_gives_up_go_on(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=3, megapixels=10)

    def give_up() -> None:
        with budget.turn(Patience(time.monotonic() + 0.2)) as permit:
            permit(9 * MEGA)

    with held(threads, budget, 5 * MEGA):
        large = threads.submit(give_up)
        until(lambda: budget.waiting == 1)
        small = Held(threads, budget, MEGA)
        with pytest.raises(DeadlineError):
            large.result()
        small.inside.wait()
        small.let_go()


def test_picture_that_nobody_wants_any_more_is_not_decoded(threads: ThreadPoolExecutor) -> None:
    budget = DecodeBudget(pictures=2, megapixels=1)
    left, decoded = threading.Event(), threading.Event()

    def decode() -> None:
        with budget.turn(Patience(abandoned=left.is_set)) as permit:
            permit(MEGA)
            decoded.set()

    with held(threads, budget, MEGA):
        asked = threads.submit(decode)
        until(lambda: budget.waiting == 1)
        left.set()
    for attempt in (asked, threads.submit(decode)):  # after a wait, and where there is room
        with pytest.raises(DeadlineError, match="Nobody waits"):
            attempt.result()
    assert not decoded.is_set()
    with budget.turn() as permit:
        permit(MEGA)


@pytest.mark.parametrize(("pictures", "megapixels"), [(0, 1), (1, 0), (1, -1), (1, float("nan"))])
def test_budget_for_nothing_is_refused(pictures: int, megapixels: float) -> None:
    with pytest.raises(RequestError, match="Nothing can be decoded"):
        DecodeBudget(pictures, megapixels)


def test_pictures_of_classifiers_that_share_a_decoder_wait_for_each_other(
    home: Path, gradient: Image.Image, photos: Path, threads: ThreadPoolExecutor
) -> None:
    decoder = Decoder(megapixels=1)
    with (
        Classifier(backend=DummyBackend(), home=home, decoding=decoder) as one,
        Classifier(backend=DummyBackend(), home=home, decoding=decoder) as other,
    ):
        with held(threads, decoder.budget, MEGA):
            waits = [
                threads.submit(classifier.classify, picture)
                for classifier, picture in ((one, gradient), (other, photos / "rocket.jpg"))
            ]
            until(lambda: decoder.budget.waiting == 2)
            with pytest.raises(DeadlineError):
                one.classify(gradient, timeout=0)
            assert not any(each.done() for each in waits)
        for each in waits:
            answer = each.result()
            assert answer.timings_ms.queue > 0


def test_wait_for_decoding_counts_as_queue_time_and_not_twice(
    home: Path, photos: Path, threads: ThreadPoolExecutor
) -> None:
    decoder = Decoder(megapixels=1)
    with Classifier(backend=DummyBackend(), home=home, decoding=decoder) as classifier:
        with held(threads, decoder.budget, MEGA):
            waits = threads.submit(classifier.classify, photos / "rocket.jpg")
            until(lambda: decoder.budget.waiting == 1)
            begun = time.perf_counter()
            until(lambda: time.perf_counter() > begun + 0.1)
        spent = waits.result().timings_ms
    assert spent.queue >= 100
    assert spent.decode + spent.preprocess + spent.queue + spent.infer <= spent.total


def test_picture_whose_time_is_over_is_not_decoded_even_where_there_is_room() -> None:
    budget = DecodeBudget(pictures=1, megapixels=1)
    entered = False
    with pytest.raises(DeadlineError, match="time was over"), budget.turn(Patience.lasting(0)):
        entered = True
    assert not entered


class SlowDecoder(Decoder):
    """Takes a fifth of a second for each picture."""

    def prepare(self, *args: Any, **options: Any) -> PreparedPicture:  # noqa: ANN401
        """Decodes, and lets time pass."""
        prepared = super().prepare(*args, **options)
        end = time.monotonic() + 0.2
        until(lambda: time.monotonic() > end)
        return prepared


def test_time_is_over_for_the_engine_when_decoding_has_used_it_up(
    home: Path, gradient: Image.Image
) -> None:
    with Classifier(backend=DummyBackend(), home=home, decoding=SlowDecoder()) as classifier:
        assert classifier.classify(gradient, timeout=60)
        with pytest.raises(DeadlineError):
            classifier.classify(gradient, timeout=0.2)
        found = list(classifier.classify_many([gradient] * 2, timeout=0.2))
        assert [type(one) for one in found] == [DeadlineError] * 2


def test_damaged_picture_gives_its_turn_back(home: Path) -> None:
    decoder = Decoder(megapixels=1)
    with Classifier(backend=DummyBackend(), home=home, decoding=decoder) as classifier:
        for _ in range(20):
            with pytest.raises(ImageError):
                classifier.prepare(b"\x89PNG\r\n\x1a\n damaged")
        with decoder.budget.turn(Patience.lasting(60)) as permit:
            permit(MEGA)


def test_budget_is_a_setting_and_suits_the_machine_where_it_is_not_given() -> None:
    with open_classifier(load_settings(backend="dummy", decode_megapixels=7)) as classifier:
        assert classifier.decoder.budget.pixels == 7 * MEGA
    with open_classifier(load_settings(backend="dummy")) as classifier:
        assert classifier.decoder.budget.pixels == default_megapixels() * MEGA >= 100 * MEGA
