"""Ways to run a model that take simulated time: the dummy backend on a clock that only it moves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shelf import SIDE, put_model
from sightbox.backends import Arrays, Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.benchmark.conditions import Conditions
from sightbox.benchmark.measuring import Effort, Measurement, Progress, measure
from sightbox.benchmark.probe import Clock, Memory, Probe, Start, Visit, Way
from sightbox.benchmark.report import Json, make_report
from sightbox.benchmark.workload import mountain_files
from sightbox.store import Store

NAME = "small"
PICTURES = list(mountain_files(3, SIDE))
BRIEF = Effort("brief", 10, 10, 3, 4, 16, 1e9)
REFERENCE = Way("dummy")


class Machine:
    """Simulated time, and the noise of a machine: of each call, of each round, of the whole run."""

    def __init__(self, seed: int, noise: float = 0.03, drift: float = 0.02) -> None:
        self.now = 0.0
        self._rng = np.random.default_rng(seed)
        self._noise, self._drift = noise, drift
        self._round = 1.0

    def work(self, milliseconds: float) -> None:
        """Lets time pass; one call in fifty takes half as long again."""
        tail = 1.5 if self._rng.random() < 0.02 else 1.0
        self.now += milliseconds / 1000 * self._round * tail * self._factor(self._noise)

    def next_round(self) -> None:
        """Makes the machine a little faster or slower from now on."""
        self._round = self._factor(self._drift)

    def clock(self) -> Clock:
        """Returns what tells the simulated time."""
        return Clock(lambda: self.now, lambda: self.now, lambda: 20 * self.now)

    def _factor(self, deviation: float) -> float:
        return float(np.exp(self._rng.normal(0, deviation)))


class WrongBackend(DummyBackend):
    """Answers, but with the class that follows the right one."""

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        arrays = super().run(images, outputs)
        return {name: np.roll(array, 1, axis=1) for name, array in arrays.items()}


class Simulated:
    """A way that takes simulated time.

    Args:
        home: Folder with the model `NAME`.
        machine: What it runs on.
        way: What it is called.
        milliseconds: What a call takes.
        image: What each picture of it adds, ms.
        kind: The backend's class.
    """

    def __init__(
        self,
        home: Path,
        machine: Machine,
        way: Way = REFERENCE,
        milliseconds: float = 4.0,
        image: float = 1.0,
        kind: type[DummyBackend] = DummyBackend,
    ) -> None:
        self.way = way
        self._home, self._machine = home, machine
        self._backend = kind(lambda batch: machine.work(milliseconds + image * len(batch)))
        self._probe: Probe | None = None

    def start(self) -> Start:
        self._probe = Probe(
            NAME, str(self._home), self._backend, self.way, PICTURES, self._machine.clock()
        )
        stages = {"interpreter": 0.1, "import": 0.2, "load": 0.3, "first answer": 0.01}
        return Start(stages, self._probe.answers())

    def whole(self, calls: int) -> Visit:
        assert self._probe is not None
        return self._probe.whole(calls)

    def engine(self, batch: int, calls: int) -> Visit:
        assert self._probe is not None
        return self._probe.engine(batch, calls)

    def memory(self) -> Memory:
        return Memory(100_000_000, 120_000_000)

    def close(self) -> None:
        if self._probe is not None:
            self._probe.close()


def small_home(folder: Path) -> Path:
    """Writes the model `NAME`, and returns the folder."""
    put_model(folder, NAME, 5)
    return folder


def measured(
    machine: Machine,
    *subjects: Simulated,
    effort: Effort = BRIEF,
    progress: Progress = lambda *_: None,
) -> Measurement:
    """Measures in simulated time; `progress` is told each step."""

    def yardstick() -> None:
        machine.work(3.0)

    def tell(step: str, done: int, total: int) -> None:
        progress(step, done, total)
        if "round" in step:
            machine.next_round()

    return measure(subjects, effort, tell, clock=machine.clock(), yardstick=yardstick)


def reported(home: Path, found: Measurement, effort: Effort = BRIEF) -> Json:
    """Makes the report of a measurement on an undisturbed machine."""
    model = Store(home).open(NAME)
    return make_report(
        found,
        model,
        effort,
        Conditions(0.0, 0.0, 0.0, 0, 0.0, 0),
        reference=str(REFERENCE),
        chosen=str(REFERENCE),
        side=SIDE,
    )
