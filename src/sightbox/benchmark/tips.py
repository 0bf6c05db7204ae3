"""What each tip for a faster answer brings here: two ways to do the same, which differ in it alone.

The ways of a tip take turns in one process, round after round. A tip that cannot be tried here is a
row that says why.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from statistics import median
from time import perf_counter
from typing import Self

import numpy as np
from PIL import Image

from sightbox.backends import Backend, create_backend
from sightbox.benchmark.report import Json
from sightbox.benchmark.statistics import change
from sightbox.benchmark.timing import time_calls
from sightbox.benchmark.workload import QUALITY, mountain
from sightbox.errors import SightboxError
from sightbox.image import decode_image
from sightbox.machine import usable_cores
from sightbox.model import EXACT, Model, report_file
from sightbox.preprocessing import prepare

ROUNDS = 5
CALLS = 3
"""Calls of each side in a round, after one that only warms it up."""

SECONDS = 20.0
"""Time after which no further round is begun, but the first ones."""

LEAST_ROUNDS = 3

PHOTO = 500
"""Height and width of the photo that is resized, px: the usual size in ImageNet."""

STACKED = 8
"""Pictures that are put into one batch."""

EAGER = "torch eager"
EXACT_ORT, EXACT_OPENVINO = "onnxruntime fp32", "openvino fp32"

Words = dict[str, str]
Step = Callable[[], object]

NO_TORCH = {
    "en": "PyTorch is not installed: pip install 'sightbox[torch]'.",
    "zh": "未安装 PyTorch：pip install 'sightbox[torch]'。",
}
SHORT = {"en": "A short run leaves PyTorch out.", "zh": "快速测试不包括 PyTorch。"}


@dataclass(frozen=True)
class Tip:
    """A tip.

    Attributes:
        code: Its name in programs.
        name: Its name for people, the same in each language.
        tried: The side that follows it, by name.
        base: The side that does not, and differs in nothing else.
        claimed: The gain that was claimed for it; None where none is on record.
    """

    code: str
    name: str
    tried: str
    base: str
    claimed: str | None = None


INFERENCE = f"{EAGER}, inference_mode"

TIPS = (
    Tip("inference_mode", "inference_mode", INFERENCE, EAGER),
    Tip("script", "TorchScript script", "torch script", INFERENCE),
    Tip("trace", "TorchScript trace", "torch trace", INFERENCE),
    Tip("onnx", "ONNX Runtime", EXACT_ORT, EAGER),
    Tip("openvino", "OpenVINO", EXACT_OPENVINO, EAGER),
    Tip("int8_onnx", "int8, ONNX Runtime", "onnxruntime int8", EXACT_ORT),
    Tip("int8_openvino", "int8, OpenVINO", "openvino int8", EXACT_OPENVINO),
    Tip("nearest", "NEAREST", "nearest", "the model's filter"),
    Tip("buffer", "prepare(out=)", "given array", "new array"),
    Tip("batch", "np.stack(out=)", "given batch", "new batch"),
)
"""Those with more threads come on top, one for each number: see `_thread_tips`."""

_TORCH_SIDES: dict[str, dict[str, object]] = {
    EAGER: {"mode": "eager", "inference_mode": False},
    INFERENCE: {"mode": "eager"},
    "torch script": {"mode": "script"},
    "torch trace": {"mode": "trace"},
}


def measure_tips(model: Model, *, with_torch: bool) -> list[Json]:
    """Measures what the tips bring here.

    Args:
        model: The model.
        with_torch: Whether to try those of PyTorch, where it is installed.

    Returns:
        A row for each tip, as JSON values: see docs/benchmarks.md.
    """
    tips = [*TIPS, *_thread_tips()]
    with _Sides(model, with_torch=with_torch) as sides:
        wanted = dict.fromkeys(name for tip in tips for name in (tip.base, tip.tried))
        steps = {name: step for name in wanted if (step := sides.open(name)) is not None}
        samples = _take_turns(steps)
    return [_row(tip, samples, sides.problems) for tip in tips]


def failed_tips(problem: str) -> list[Json]:
    """Returns the rows of a machine where no tip could be tried, each with the reason."""
    words = {"en": problem, "zh": problem}
    return [_head(tip) | {"problem": words} for tip in TIPS]


class _Sides:
    """Opens the sides of the tips by name; what cannot be opened has its reason in `problems`."""

    def __init__(self, model: Model, *, with_torch: bool) -> None:
        self.problems: dict[str, Words] = {}
        self._model, self._with_torch = model, with_torch
        self._engines: list[Backend] = []
        self._picture = mountain(model.card.recipe.crop)[None]
        self._pixel_steps = dict(_pixel_steps(model))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engines:
            engine.close()

    def open(self, name: str) -> Step | None:
        """Returns a call of a side, or None."""
        if name in self._pixel_steps:
            return self._pixel_steps[name]
        try:
            engine, threads, variant = self._engine(name)
            if engine is not None:
                engine.load(self._model, threads, variant)
        except SightboxError as error:
            self.problems[name] = {"en": str(error), "zh": str(error)}
            return None
        if engine is None:
            return None
        self._engines.append(engine)
        return lambda: engine.run(self._picture)

    def _engine(self, name: str) -> tuple[Backend | None, int, str]:
        """Returns a side's engine, its threads and its variant, or notes why it has none."""
        threads = usable_cores()
        if name in _TORCH_SIDES:
            reason = SHORT if not self._with_torch else NO_TORCH
            if not self._with_torch or find_spec("torch") is None:
                self.problems[name] = reason
                return None, threads, EXACT
            torch = import_module("sightbox.backends.pytorch")
            options = {"device": "cpu", "channels_last": False} | _TORCH_SIDES[name]
            return torch.PyTorchBackend(**options), threads, EXACT
        backend, variant, *rest = name.split(" ")
        if variant != EXACT and report_file(variant) not in self._model.card.files:
            self.problems[name] = {
                "en": f"There is no variant {variant} yet: sightbox models optimize.",
                "zh": f"还没有 {variant} 变体：sightbox models optimize。",
            }
            return None, threads, variant
        return create_backend(backend), int(rest[0]) if rest else threads, variant


def _thread_tips() -> Iterator[Tip]:
    """Yields a tip for 2, 4, … threads of ONNX Runtime, up to the cores that are here."""
    cores = usable_cores()
    counts = sorted({*(2**power for power in range(1, cores.bit_length())), cores} - {1})
    for count in counts:
        tried, base = (f"{EXACT_ORT} {number}" for number in (count, 1))
        yield Tip(f"threads_{count}", f"threads {count} / 1", tried, base)


def _pixel_steps(model: Model) -> Iterator[tuple[str, Step]]:
    """Yields the sides that are about pixels: a photo's resize, and where its pixels go."""
    recipe = model.card.recipe
    file = BytesIO()
    Image.fromarray(mountain(PHOTO)).save(file, "JPEG", quality=QUALITY)
    image = decode_image(file.getvalue()).pixels
    pixels = prepare(image, recipe)
    many, place = [pixels] * STACKED, np.empty((STACKED, *pixels.shape), np.uint8)
    yield "the model's filter", lambda: prepare(image, recipe)
    yield "nearest", lambda: prepare(image, replace(recipe, interpolation="nearest"))
    yield "new array", lambda: prepare(image, recipe)
    yield "given array", lambda: prepare(image, recipe, pixels)
    yield "new batch", lambda: np.stack(many)
    yield "given batch", lambda: np.stack(many, out=place)


def _take_turns(steps: dict[str, Step]) -> dict[str, list[list[float]]]:
    """Returns the times of each side in ms, a sequence for each round."""
    samples: dict[str, list[list[float]]] = {name: [] for name in steps}
    end = perf_counter() + SECONDS
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and perf_counter() > end:
            break
        for name, step in steps.items():
            # The other sides have taken the caches meanwhile; and a first call may compile.
            step()
            samples[name].append(time_calls(step, CALLS, perf_counter)[0])
    return samples


def _row(tip: Tip, samples: dict[str, list[list[float]]], problems: dict[str, Words]) -> Json:
    head = _head(tip)
    for name in (tip.base, tip.tried):
        if name in problems:
            return head | {"problem": problems[name]}
    tried, base = samples[tip.tried], samples[tip.base]
    gain = {name: round(value, 4) for name, value in asdict(change(tried, base)).items()}
    return head | {
        "problem": None,
        "base_ms": round(median(time for each in base for time in each), 4),
        "ms": round(median(time for each in tried for time in each), 4),
        "gain": gain,
    }


def _head(tip: Tip) -> Json:
    return {"tip": tip.code, "name": tip.name, "tried": tip.tried, "base": tip.base} | {
        "claimed": tip.claimed
    }
