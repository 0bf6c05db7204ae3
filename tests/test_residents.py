"""Models side by side: loaded on first use, dropped when room is needed, never while in use."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from shelf import CLASSES, GRAPH_BYTES, SIDE, put_model, put_models
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend, expected_class
from sightbox.classifier import Classifier
from sightbox.decoding.decoder import Decoder
from sightbox.errors import (
    BackendError,
    ClosedError,
    ModelError,
    ModelNotFoundError,
    ModelsBusyError,
    ModelTooLargeError,
    SightboxError,
)
from sightbox.model import CARD, EXACT, GRAPH, Model, open_model, write_model
from sightbox.opening import open_classifier, plan_for
from sightbox.pictures import PreparedPicture
from sightbox.plan import Plan
from sightbox.residents import MEASURED_SECONDS, Loader, Residents
from sightbox.settings import Settings, load_settings
from sightbox.store import Store


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the models of `CLASSES`, each of which takes exactly a megabyte."""
    put_models(tmp_path)
    monkeypatch.setattr("sightbox.machine.resident_bytes", lambda: 0)
    return tmp_path


class Loads:
    """Loads as the server does, and keeps the names of what was loaded.

    Args:
        before: Called with the name before each load.
    """

    def __init__(self, before: Callable[[str], None] = lambda _name: None) -> None:
        self.names: list[str] = []
        self._before = before

    def __call__(self, settings: Settings, name: str, plan: Plan, decoding: Decoder) -> Classifier:
        self.names.append(name)
        self._before(name)
        return open_classifier(settings, name, plan, decoding)


@contextmanager
def opened(
    home: Path,
    limit: float = 3,
    load: Loader = open_classifier,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Residents]:
    """Opens `first` as the default model, with room for `limit` models in all."""
    settings = load_settings(home=home, backend="dummy", model="first", max_models_mb=limit)
    with (
        open_classifier(settings) as default,
        Residents(default, settings, load, clock) as residents,
    ):
        yield residents


def pixels(seed: int = 0, count: int = 1) -> Pixels:
    """Returns pictures of the models' size."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def assert_answers_as(classifier: Classifier, name: str, seed: int = 0) -> None:
    """Checks that a classifier gives the answer of its own model."""
    batch = pixels(seed)
    logits = classifier.infer(batch)[0].logits
    assert (classifier.card.name, len(logits)) == (name, CLASSES[name])
    assert logits.argmax() == expected_class(batch, CLASSES[name])[0]


def loaded(residents: Residents) -> list[str]:
    """Returns the names of what is loaded."""
    return [one.name for one in residents.loaded]


def test_model_is_loaded_on_first_use_and_stays(shelf: Path) -> None:
    load = Loads()
    with opened(shelf, load=load) as residents:
        assert loaded(residents) == ["first"]
        for name in ("north", "north", None, "first", "north"):
            with residents.using(name) as classifier:
                assert_answers_as(classifier, name or "first")
        assert loaded(residents) == ["first", "north"]
    assert load.names == ["north"]


def test_least_recently_used_one_is_dropped_for_another(shelf: Path) -> None:
    with opened(shelf) as residents:
        for name in ("north", "east", "north", "south"):
            with residents.using(name) as classifier:
                assert_answers_as(classifier, name)
        assert loaded(residents) == ["first", "north", "south"]


def test_use_counts_until_its_end(shelf: Path) -> None:
    with opened(shelf) as residents:
        with residents.using("north"), residents.using("east"):
            pass
        # It began before the other, and ended after it.
        with residents.using("south"):
            assert loaded(residents) == ["first", "north", "south"]


def test_model_in_use_is_never_dropped(shelf: Path) -> None:
    with opened(shelf) as residents:
        with residents.using("north") as north:
            for name in ("east", "south", "west"):
                with residents.using(name) as classifier:
                    assert_answers_as(classifier, name)
                assert_answers_as(north, "north")
            with residents.using("west"), pytest.raises(ModelsBusyError, match="max_models_mb"):
                residents.using("east").__enter__()
            # What was refused has dropped nothing.
            assert loaded(residents) == ["first", "north", "west"]
        with residents.using("east") as classifier:
            assert_answers_as(classifier, "east")


def test_dropped_model_is_closed(shelf: Path) -> None:
    with opened(shelf, limit=2) as residents:
        with residents.using("north") as north:
            pass
        with residents.using("east"), pytest.raises(ClosedError):
            north.infer(pixels())


@pytest.mark.parametrize(("limit", "fits"), [(2.0, True), (1.999999, False), (0, False)])
def test_model_that_cannot_fit_beside_the_default_is_refused_unread(
    shelf: Path, limit: float, fits: bool
) -> None:
    load = Loads()
    with opened(shelf, limit, load) as residents:
        if fits:
            residents.check("north")
            with residents.using("north") as classifier:
                assert_answers_as(classifier, "north")
        else:
            for ask in (residents.check, lambda name: residents.using(name).__enter__()):
                with pytest.raises(ModelTooLargeError, match="Raise the setting max_models_mb"):
                    ask("north")
        with residents.using() as classifier:
            assert_answers_as(classifier, "first")
    assert load.names == ["north"] * fits


class Greedy:
    """Loads onto a backend that makes the process grow.

    Args:
        sizes: Bytes that each model takes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sizes: int) -> None:
        self.sizes, self.taken, self.names = sizes, 0, list[str]()
        self.made: list[Classifier] = []
        monkeypatch.setattr("sightbox.machine.resident_bytes", lambda: self.taken)

    def __call__(self, settings: Settings, name: str, _plan: Plan, decoding: Decoder) -> Classifier:
        greedy = self

        class Backend(DummyBackend):
            def load(
                self, model: Model, threads: int, variant: str = EXACT, streams: int = 1
            ) -> None:
                greedy.taken += greedy.sizes.get(model.card.name, 0)
                super().load(model, threads, variant, streams)

        self.names.append(name)
        self.made.append(Classifier(name, Backend(), home=settings.home, decoding=decoding))
        return self.made[-1]


def test_memory_is_what_the_process_grew_and_at_least_the_graph(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Greedy(monkeypatch, north=2_500_000, east=10)
    with opened(shelf, 5, greedy) as residents:
        for name in ("north", "east"):
            with residents.using(name):
                pass
        assert [one.memory for one in residents.loaded] == [GRAPH_BYTES, GRAPH_BYTES, 2_500_000]


def test_largest_batch_counts_in_the_memory(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [0]
    monkeypatch.setattr("sightbox.machine.resident_bytes", lambda: taken[0])

    def take(images: Pixels) -> None:
        taken[0] = max(taken[0], 300_000 * len(images))

    def load(settings: Settings, name: str, _plan: Plan, _decoding: Decoder) -> Classifier:
        made = Classifier(name, DummyBackend(take), home=settings.home, max_batch=8)
        assert made.memory == GRAPH_BYTES
        return made

    with opened(shelf, 4, load) as residents, residents.using("north"):
        assert [one.memory for one in residents.loaded] == [GRAPH_BYTES, 8 * 300_000]


def test_model_that_proves_larger_makes_more_room(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(shelf, 3, Greedy(monkeypatch, east=1_500_000)) as residents:
        for name in ("north", "east"):
            with residents.using(name):
                pass
        assert loaded(residents) == ["first", "east"]


def test_model_that_proves_larger_while_others_are_in_use_is_refused(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy = Greedy(monkeypatch, east=1_500_000)
    with opened(shelf, 3, greedy) as residents:
        with residents.using("north") as north:
            for _ in range(2):
                with pytest.raises(ModelsBusyError):
                    residents.using("east").__enter__()
            with pytest.raises(ClosedError):
                greedy.made[-1].infer(pixels())
            assert_answers_as(north, "north")
        with residents.using("east") as classifier:
            assert_answers_as(classifier, "east")
    # Once its size is known it is not loaded in vain.
    assert greedy.names == ["north", "east", "east"]


def test_model_that_proves_too_large_is_tried_again_after_a_while(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, now = Greedy(monkeypatch, east=2_000_001), [0.0]
    with opened(shelf, 3, greedy, clock=lambda: now[0]) as residents:
        for now[0], expected in ((0.0, 1), (MEASURED_SECONDS - 0.1, 1), (MEASURED_SECONDS, 2)):
            with pytest.raises(ModelTooLargeError):
                residents.using("east").__enter__()
            assert greedy.names == ["east"] * expected
        now[0] = 1000
        greedy.sizes.clear()
        with residents.using("east") as classifier:
            assert_answers_as(classifier, "east")


def test_one_thread_loads_while_the_others_wait_or_do_something_else(shelf: Path) -> None:
    loading, may_load = threading.Event(), threading.Event()

    def before(name: str) -> None:
        if name == "north":
            loading.set()
            may_load.wait()

    load = Loads(before)

    def ask(seed: int) -> None:
        with residents.using("north") as classifier:
            assert_answers_as(classifier, "north", seed)

    with opened(shelf, load=load) as residents, ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(ask, seed) for seed in range(4)]
        loading.wait()
        try:
            for name in (None, "east"):
                with residents.using(name) as classifier:
                    assert_answers_as(classifier, name or "first")
            assert loaded(residents) == ["first", "east"]
        finally:
            may_load.set()
        for call in calls:
            call.result()
    assert load.names == ["north", "east"]


def test_failure_to_load_is_told_to_all_who_wait_and_the_next_one_tries_again(shelf: Path) -> None:
    loading, may_fail = threading.Event(), threading.Event()

    def before(_name: str) -> None:
        if not may_fail.is_set():
            loading.set()
            may_fail.wait()
            raise BackendError("Out of order.")

    def ask() -> None:
        with residents.using("north"):
            raise AssertionError

    with opened(shelf, load=Loads(before)) as residents, ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask)
        loading.wait()
        with ThreadPoolExecutor(1) as more:
            waiting = more.submit(ask)
            while residents._residents["north", EXACT].users < 2:
                pass
            may_fail.set()
            for call in (first, waiting):
                assert isinstance(call.exception(), BackendError)
        with residents.using("north") as classifier:
            assert_answers_as(classifier, "north")


def test_interrupted_load_is_no_interrupt_of_those_who_wait(shelf: Path) -> None:
    def before(_name: str) -> None:
        raise KeyboardInterrupt

    with opened(shelf, load=Loads(before)) as residents:
        with pytest.raises(KeyboardInterrupt):
            residents.using("north").__enter__()
        assert loaded(residents) == ["first"]


def test_damaged_model_is_an_error_until_it_is_mended(shelf: Path) -> None:
    card = shelf / "models" / "north" / CARD
    sound = card.read_text()
    with opened(shelf) as residents:
        card.write_text("{}")
        with pytest.raises(ModelError, match="card is damaged"):
            residents.using("north").__enter__()
        card.unlink()
        with pytest.raises(ModelError, match="no readable card"):
            residents.check("north")
        card.write_text(sound)
        with residents.using("north") as classifier:
            assert_answers_as(classifier, "north")


def test_graph_that_the_runtime_refuses_is_an_error_of_its_own_request(shelf: Path) -> None:
    settings = load_settings(home=shelf, max_models_mb=1000)
    with (
        Classifier("first", "dummy", home=shelf) as default,
        Residents(default, settings) as residents,
    ):
        for _ in range(2):
            with pytest.raises(BackendError, match="ONNX Runtime refuses north"):
                residents.using("north").__enter__()
        (shelf / "models" / "north" / GRAPH).unlink()
        with pytest.raises(ModelError, match="cannot be read"):
            residents.using("north").__enter__()
        assert loaded(residents) == ["first"]
        with residents.using() as classifier:
            assert_answers_as(classifier, "first")


def test_unknown_model_is_not_found_and_what_is_here_is_told(shelf: Path) -> None:
    with opened(shelf) as residents:
        for name in ("up", "", "../first", "a\0b", "x" * 500):
            with pytest.raises(ModelNotFoundError, match="Here are: east, first, north, south"):
                residents.using(name).__enter__()
            with pytest.raises(ModelNotFoundError):
                residents.card(name)


def test_variants_are_models_of_their_own_and_planned_one_needs_no_name(shelf: Path) -> None:
    load = Loads()
    with opened(shelf, 5, load) as residents:
        # The dummy backend takes any; bf16 has no graph of its own.
        for variant in ("bf16", "fp32", None, "bf16"):
            with residents.using("north", variant) as classifier:
                assert classifier.info.variant == (variant or EXACT)
        for variant in ("fp32", None):
            with residents.using(None, variant) as classifier:
                assert classifier.info.name == "first"
        with residents.using(None, "bf16") as classifier:
            assert (classifier.info.name, classifier.info.variant) == ("first", "bf16")
        assert [(one.name, one.variant) for one in residents.loaded] == [
            ("first", "fp32"),
            ("first", "bf16"),
            ("north", "bf16"),
            ("north", "fp32"),
        ]
        with pytest.raises(ModelNotFoundError, match=r"no variant 'int8' here. It has fp32\."):
            residents.using("north", "int8").__enter__()
    assert load.names == ["north", "north", "first"]


def test_setting_of_the_variant_is_for_all_models(shelf: Path) -> None:
    settings = load_settings(home=shelf, backend="dummy", variant="bf16")
    model = open_model(shelf / "models" / "north")
    assert plan_for(settings, model).variant == "bf16"
    assert plan_for(settings, model, "fp32").variant == "fp32"


def test_default_may_be_in_another_variant_than_the_plan_says(shelf: Path) -> None:
    settings = load_settings(home=shelf, backend="dummy")
    with (
        Classifier("first", "dummy", variant="bf16", home=shelf) as default,
        Residents(default, settings) as residents,
    ):
        for name in (None, "first"):
            with residents.using(name) as classifier:
                assert classifier is default
        with residents.using("first", "fp32") as classifier:
            assert classifier.info.variant == "fp32"


def test_model_removed_or_damaged_on_disk_goes_on_until_it_is_dropped(shelf: Path) -> None:
    with opened(shelf) as residents:
        for name in ("north", "east"):
            with residents.using(name):
                pass
        shutil.rmtree(shelf / "models" / "north")
        (shelf / "models" / "east" / CARD).write_text("{}")
        for name in ("north", "east"):
            with residents.using(name) as classifier:
                assert_answers_as(classifier, name)
            assert residents.card(name).classes == CLASSES[name]
            residents.check(name)
        assert "north" in residents.names
        with pytest.raises(ModelNotFoundError, match=r"not on the disk. It answers in fp32"):
            residents.using("north", "bf16").__enter__()
        with residents.using("south"), residents.using("west"):
            pass
        assert "north" not in residents.names
        with pytest.raises(ModelNotFoundError, match="no model 'north'"):
            residents.using("north").__enter__()
        with pytest.raises(ModelError, match="card is damaged"):
            residents.using("east").__enter__()


def test_closing_leaves_what_is_in_use_to_its_last_user(shelf: Path) -> None:
    with opened(shelf) as residents:
        with residents.using("north") as idle:
            pass
        with residents.using("east") as first, residents.using("east") as second:
            residents.close()
            assert_answers_as(first, "east")
            with pytest.raises(ClosedError):
                idle.infer(pixels())
            with pytest.raises(ClosedError, match="No more models"):
                residents.using("south").__enter__()
        with pytest.raises(ClosedError):
            second.infer(pixels())
        residents.close()
        with residents.using() as classifier:
            assert_answers_as(classifier, "first")


def test_model_that_is_loaded_while_all_are_closed_is_closed_by_its_user(shelf: Path) -> None:
    made: list[Classifier] = []

    def load(settings: Settings, name: str, plan: Plan, decoding: Decoder) -> Classifier:
        residents.close()
        made.append(open_classifier(settings, name, plan, decoding))
        return made[0]

    with opened(shelf, load=load) as residents:
        with residents.using("north") as classifier:
            assert_answers_as(classifier, "north")
        with pytest.raises(ClosedError):
            made[0].infer(pixels())


class Counting(Decoder):
    """A decoder that counts what it prepares."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = 0
        self._counting = threading.Lock()

    def prepare(self, *given: Any, **named: Any) -> PreparedPicture:  # noqa: ANN401 - passed on
        with self._counting:
            self.prepared += 1
        return super().prepare(*given, **named)


def test_decoder_and_its_budget_are_shared_by_all_models(shelf: Path) -> None:
    decoder = Counting()
    picture = np.zeros((500, 500, 3), np.uint8)
    settings = load_settings(home=shelf, backend="dummy")

    def ask(number: int) -> None:
        with residents.using(list(CLASSES)[number % 3]) as classifier:
            classifier.prepare(picture)

    with (
        Classifier("first", "dummy", home=shelf, decoding=decoder) as default,
        Residents(default, settings) as residents,
        ThreadPoolExecutor(8) as threads,
    ):
        list(threads.map(ask, range(30)))
    assert decoder.prepared == 30


def test_each_call_gets_the_answer_of_its_own_model_while_models_come_and_go(shelf: Path) -> None:
    load, busy, answered = Loads(), list[str](), list[str]()

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for step in range(40):
            name = chance.choice([None, *CLASSES])
            with ExitStack() as stack:
                try:
                    classifier = stack.enter_context(residents.using(name))
                except ModelsBusyError:
                    busy.append(str(name))
                    continue
                for _ in range(chance.randrange(1, 4)):
                    assert_answers_as(classifier, name or "first", seed + step)
                assert sum(one.memory for one in residents.loaded) <= 3 * GRAPH_BYTES
                answered.append(str(name))

    with opened(shelf, limit=3, load=load) as residents, ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
        assert len(residents.loaded) <= 3
        assert not any(one.users for one in residents.loaded)
    assert len(busy) + len(answered) == 8 * 40
    assert set(answered) == {"None", *CLASSES}
    # Each of the four others was dropped and loaded again.
    assert len(load.names) > 8


def test_threads_descriptors_and_memory_are_flat_over_50_loads(home: Path, tmp_path: Path) -> None:
    """With ONNX Runtime: two models that do not fit together."""
    embedded = Store(home).open()
    contents = {file: embedded.read(file) for file in embedded.card.files}
    (tmp_path / "models").mkdir()
    for name in ("one", "other"):
        card = replace(embedded.card, name=name)
        write_model(Model(card, None, contents), tmp_path / "models")
    put_model(tmp_path, "first", CLASSES["first"], 1000)
    settings = load_settings(home=tmp_path, max_batch=1, max_models_mb=1000)
    process = psutil.Process()
    found = []
    with Classifier("first", "dummy", home=tmp_path) as default:
        with Residents(default, settings) as residents, residents.using("one"):
            limit = 1.5 * residents.loaded[-1].memory / 1_000_000
        settings = settings.model_copy(update={"max_models_mb": limit})
        load = Loads()
        with Residents(default, settings, load) as residents:
            for _ in range(25):
                for name in ("one", "other"):
                    with residents.using(name) as classifier:
                        assert classifier.card.name == name
                found.append((process.num_threads(), process.num_fds(), process.memory_info().rss))
    assert load.names == ["one", "other"] * 25
    assert found[-1][:2] == found[2][:2]
    assert found[-1][2] - found[2][2] < len(contents[GRAPH])


def test_every_error_of_a_load_is_one_of_ours(shelf: Path) -> None:
    with opened(shelf, limit=1) as residents:
        for name, variant in (("north", None), ("up", None), ("first", "int8"), ("north", "x/y")):
            with pytest.raises(SightboxError):
                residents.using(name, variant).__enter__()
