"""The queue: each call gets its own answer or its own error, none is lost, none hangs."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from sightbox.batching import Answer, Batcher
from sightbox.errors import BackendError, ClosedError, DeadlineError, QueueFullError

CLASSES = 7
PROOF = np.zeros((2, 2, 3), np.uint8)

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


def picture(number: int) -> Pixels:
    """Returns a picture that carries a number."""
    pixels = PROOF.copy()
    pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
    return pixels


def echo(batch: Pixels) -> Logits:
    """Answers each picture with its number in every class."""
    numbers = batch[:, 0, 0].astype(np.float32) @ np.array([1, 256, 65536], np.float32)
    return np.repeat(numbers[:, None], CLASSES, axis=1)


@contextmanager
def batching(
    run: Callable[[Pixels], Logits] = echo, capacity: int = 1000, **given: int
) -> Iterator[Batcher]:
    """Runs a batcher and closes it."""
    batcher = Batcher(run, PROOF, capacity=capacity, **{"max_batch": 4, **given})
    try:
        yield batcher
    finally:
        batcher.close()


class Gate:
    """An engine that waits inside its next batch until it is let go, and keeps what it saw."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.armed = False

    def __call__(self, batch: Pixels) -> Logits:
        """Answers a batch."""
        self.batches.append(len(batch))
        if self.armed:
            self.inside.set()
            self.go_on.wait()
        return echo(batch)


@contextmanager
def asking(batcher: Batcher, numbers: range) -> Iterator[dict[int, Answer | Exception]]:
    """Asks from one thread for each number; at the end all have their answer or error."""
    found: dict[int, Answer | Exception] = {}

    def ask(number: int) -> None:
        try:
            found[number] = batcher.ask(picture(number))
        except (BackendError, ClosedError, QueueFullError, DeadlineError) as error:
            found[number] = error

    threads = [threading.Thread(target=ask, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    yield found
    for thread in threads:
        thread.join()


def wait_for_depth(batcher: Batcher, depth: int) -> None:
    """Returns when so many calls wait."""
    while batcher.depth < depth:
        pass


def wait_until_ready(batcher: Batcher) -> None:
    """Returns when a worker has proven itself."""
    while not batcher.ready:
        pass


def test_answer_tells_its_batch_and_times() -> None:
    with batching() as batcher:
        answer = batcher.ask(picture(5))
    assert answer.logits.tolist() == [5] * CLASSES
    assert answer.batch == 1
    assert answer.waited >= 0
    assert answer.ran >= 0


def test_what_waits_becomes_one_batch_up_to_the_limit() -> None:
    gate = Gate()
    with batching(gate, max_batch=4) as batcher:
        gate.armed = True
        with asking(batcher, range(1)) as first:
            gate.inside.wait()
            with asking(batcher, range(1, 7)) as rest:
                wait_for_depth(batcher, 6)
                gate.armed = False
                gate.go_on.set()
    assert gate.batches == [1, 1, 4, 2]  # the first is the proof
    found = first | rest
    assert {n: a.logits[0] for n, a in found.items() if isinstance(a, Answer)} == {
        n: n for n in range(7)
    }


def test_workers_run_batches_at_the_same_time() -> None:
    barrier = threading.Barrier(2, timeout=60)
    proven = threading.Event()

    def meet(batch: Pixels) -> Logits:
        if proven.is_set():
            barrier.wait()
        return echo(batch)

    with batching(meet, workers=2, max_batch=1) as batcher:
        proven.set()
        with asking(batcher, range(2)) as found:
            pass
    assert all(isinstance(answer, Answer) for answer in found.values())


def test_full_queue_refuses_at_once() -> None:
    gate = Gate()
    with batching(gate, capacity=2) as batcher:
        gate.armed = True
        with asking(batcher, range(1)):
            gate.inside.wait()
            with asking(batcher, range(1, 3)):
                wait_for_depth(batcher, 2)
                with pytest.raises(QueueFullError, match="2 pictures wait already"):
                    batcher.ask(picture(9))
                gate.go_on.set()


def test_call_that_nobody_waits_for_is_not_computed() -> None:
    gate = Gate()
    with batching(gate) as batcher, ThreadPoolExecutor(1) as pool:
        gate.armed = True
        with asking(batcher, range(1)):
            gate.inside.wait()
            call = pool.submit(batcher.ask, picture(1), abandoned=lambda: True)
            wait_for_depth(batcher, 1)
            gate.go_on.set()
        with pytest.raises(DeadlineError, match="Nobody waits"):
            call.result()
    assert sum(gate.batches) == 2, "the proof and the first picture"


def test_call_whose_time_is_over_is_not_computed() -> None:
    gate = Gate()
    with batching(gate) as batcher:
        gate.armed = True
        with asking(batcher, range(1)):
            gate.inside.wait()
            gate.go_on.set()
            with pytest.raises(DeadlineError):
                batcher.ask(picture(9), timeout=-1)
    assert gate.batches == [1, 1]


def test_failing_batch_fails_its_own_calls_and_a_fresh_worker_goes_on() -> None:
    def fail_on_nine(batch: Pixels) -> Logits:
        if 9 in batch[:, 0, 0, 0]:
            raise ZeroDivisionError("a bug")
        return echo(batch)

    with batching(fail_on_nine, max_batch=1) as batcher:
        with pytest.raises(BackendError, match="failed: ZeroDivisionError"):
            batcher.ask(picture(9))
        wait_until_ready(batcher)
        assert batcher.ask(picture(8)).logits[0] == 8


@pytest.mark.parametrize("failure", [BackendError("Out of order."), MemoryError(), SystemExit()])
def test_broken_engine_is_not_ready_until_it_answers_the_proof_again(
    failure: BaseException,
) -> None:
    broken, failed_again = threading.Event(), threading.Event()

    def run(batch: Pixels) -> Logits:
        if broken.is_set():
            if not batch.any():
                failed_again.set()
            raise failure
        return echo(batch)

    with batching(run) as batcher:
        broken.set()
        with pytest.raises(BackendError, match=r"Out of order|engine failed: \w+Er|SystemExit"):
            batcher.ask(picture(1))
        failed_again.wait()
        assert not batcher.ready
        with pytest.raises(BackendError, match="out of order"):
            batcher.ask(picture(2))
        broken.clear()
        wait_until_ready(batcher)
        assert batcher.ask(picture(3)).logits[0] == 3


def test_worker_that_cannot_be_replaced_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gate = Gate()

    def fail(batch: Pixels) -> Logits:
        gate(batch)
        if batch.any():
            raise BackendError("Out of order.")
        return echo(batch)

    with batching(fail, max_batch=1) as batcher:
        gate.armed = True
        with asking(batcher, range(1, 4)) as found:
            gate.inside.wait()
            wait_for_depth(batcher, 2)
            monkeypatch.setattr(threading.Thread, "start", none_left)
            gate.go_on.set()
        monkeypatch.undo()
        assert {type(answer) for answer in found.values()} == {BackendError}
        assert not batcher.ready
        with pytest.raises(BackendError, match="out of order"):
            batcher.ask(picture(9))
    assert "no thread for a fresh worker" in caplog.text


def test_wrong_number_of_answers_is_an_error() -> None:
    def lose_one(batch: Pixels) -> Logits:
        return echo(batch)[: max(1, len(batch) - 1)]

    gate = Gate()
    with batching(lambda batch: lose_one(batch) if len(batch) > 1 else gate(batch)) as batcher:
        gate.armed = True
        with asking(batcher, range(1)):
            gate.inside.wait()
            with asking(batcher, range(1, 4)) as found:
                wait_for_depth(batcher, 3)
                gate.armed = False
                gate.go_on.set()
    assert {str(error) for error in found.values()} == {"3 pictures went in, 2 answers came out."}


@pytest.mark.parametrize("answer", [np.nan, np.inf])
def test_engine_that_answers_nonsense_does_not_start(answer: float) -> None:
    def nonsense(batch: Pixels) -> Logits:
        return np.full((len(batch), CLASSES), answer, np.float32)

    with pytest.raises(BackendError, match="no number"):
        Batcher(nonsense, PROOF, max_batch=1, capacity=1)


def test_closing_answers_what_waits_and_refuses_the_rest() -> None:
    gate = Gate()
    with batching(gate) as batcher:
        gate.armed = True
        with asking(batcher, range(3)) as found:
            gate.inside.wait()
            closer = threading.Thread(target=batcher.close)
            closer.start()
            gate.armed = False
            gate.go_on.set()
        closer.join()
        with pytest.raises(ClosedError):
            batcher.ask(picture(1))
    assert len(found) == 3


def test_closing_a_broken_engine_ends() -> None:
    broken = threading.Event()

    def run(batch: Pixels) -> Logits:
        if broken.is_set():
            raise BackendError("Out of order.")
        return echo(batch)

    with batching(run) as batcher:
        broken.set()
        with pytest.raises(BackendError):
            batcher.ask(picture(1))


@pytest.mark.parametrize("workers", [1, 3])
def test_64_threads_each_get_their_own_answer_or_their_own_error(workers: int) -> None:
    """12,800 calls while the engine fails at random: none is lost, mixed up or left hanging."""
    chance = random.Random(4)

    def stumble(batch: Pixels) -> Logits:
        if batch.any() and chance.random() < 0.02:
            raise BackendError("Stumbled.")
        return echo(batch)

    found: Counter[str] = Counter()
    lock = threading.Lock()

    def ask(first: int, batcher: Batcher) -> None:
        mine: Counter[str] = Counter()
        for number in range(first, first + 200):
            try:
                logits = batcher.ask(picture(number)).logits
            except BackendError:
                mine["failed"] += 1
            else:
                mine["right" if logits.tolist() == [number] * CLASSES else "wrong"] += 1
        with lock:
            found.update(mine)

    with batching(stumble, workers=workers, max_batch=8) as batcher:
        threads = [
            threading.Thread(target=ask, args=(1 + 200 * number, batcher)) for number in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found.total() == 64 * 200
    assert found["wrong"] == 0
    assert found["failed"] > 0
    assert found["right"] > found["failed"]


def test_pictures_asked_together_form_one_batch_and_keep_their_order() -> None:
    gate = Gate()
    with batching(gate) as batcher:
        answers = batcher.ask_all([picture(number) for number in range(4)])
    assert [answer.logits[0] for answer in answers] == [0, 1, 2, 3]
    assert gate.batches[-1] == 4
    assert {answer.batch for answer in answers} == {4}


def test_pictures_asked_together_enter_the_queue_all_or_not_at_all() -> None:
    gate = Gate()
    with batching(gate, capacity=3) as batcher:
        with pytest.raises(QueueFullError, match="0 pictures wait already"):
            batcher.ask_all([picture(number) for number in range(4)])
        assert batcher.depth == 0
        assert len(batcher.ask_all([picture(number) for number in range(3)])) == 3


def test_failure_of_one_picture_gives_up_the_others_asked_with_it() -> None:
    def fail(batch: Pixels) -> Logits:
        if batch.any():
            raise BackendError("Broken.")
        return echo(batch)

    with batching(fail, max_batch=1) as batcher:
        with pytest.raises(BackendError, match="Broken"):
            batcher.ask_all([picture(number) for number in (1, 0, 0)])
        assert batcher.ask(picture(0)).logits[0] == 0
