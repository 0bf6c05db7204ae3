"""The machine's limit: decode, resize and inference by bare threads, without HTTP and queue.

`service.py` runs it as a process of its own in each round.
"""

import argparse
import json
import statistics
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from material import pixels

from sightbox.backends import Backend, create_backend
from sightbox.image import decode_image
from sightbox.machine import usable_cores
from sightbox.model import Model
from sightbox.preprocessing import prepare
from sightbox.store import Store

BATCHES = (1, 8)
"""Batch sizes that are tried; the faster one counts."""


def measure(
    model: Model, photos: list[bytes], backend: str, variant: str, seconds: float
) -> dict[str, Any]:
    """Measures the limit for one way to run the network.

    Args:
        model: The model.
        photos: Encoded photos.
        backend: Name of the backend.
        variant: Variant of the model.
        seconds: How long each of the four measurements takes.

    Returns:
        ms a photo on one core for decoding, resizing and inference, where inference runs on all
        cores at once with one thread each; img/s by the formula cores / (their sum), and the most
        img/s seen when the threads do all three.
    """
    cores = usable_cores()
    engines = []
    for _ in range(cores):
        engines.append(create_backend(backend))
        engines[-1].load(model, 1, variant)
    decode, resize = _pixels_ms(model, photos)
    drawn = pixels(model, max(BATCHES))
    bare = max(
        _rate([partial(_infer, engine, drawn[:batch]) for engine in engines], seconds)
        for batch in BATCHES
    )
    whole = max(
        _rate([_whole(engine, model, photos, batch) for engine in engines], seconds)
        for batch in BATCHES
    )
    infer = 1000 * cores / bare
    for engine in engines:
        engine.close()
    return {
        "decode_ms": decode,
        "resize_ms": resize,
        "infer_ms": infer,
        "formula": 1000 * cores / (decode + resize + infer),
        "measured": whole,
    }


def _pixels_ms(model: Model, photos: list[bytes]) -> tuple[float, float]:
    decode, resize = [], []
    for photo in photos:
        start = perf_counter()
        image = decode_image(photo)
        decoded = perf_counter()
        prepare(image.pixels, model.card.recipe)
        decode.append(1000 * (decoded - start))
        resize.append(1000 * (perf_counter() - decoded))
    return statistics.median(decode), statistics.median(resize)


def _infer(engine: Backend, batch: np.ndarray) -> int:
    engine.run(batch)
    return len(batch)


def _whole(engine: Backend, model: Model, photos: list[bytes], batch: int) -> Callable[[], int]:
    recipe = model.card.recipe
    buffer = np.empty((batch, recipe.crop, recipe.crop, 3), np.uint8)
    position = 0

    def step() -> int:
        nonlocal position
        for row in buffer:
            prepare(decode_image(photos[position % len(photos)]).pixels, recipe, row)
            position += 1
        return _infer(engine, buffer)

    return step


def _rate(steps: list[Callable[[], int]], seconds: float) -> float:
    """Runs each step again and again in a thread of its own, and returns img/s of all together."""
    rates = [0.0] * len(steps)
    for step in steps:
        step()  # a first call may compile
    ready = threading.Barrier(len(steps))

    def run(number: int) -> None:
        ready.wait()
        start, done = perf_counter(), 0
        while not done or perf_counter() - start < seconds:
            done += steps[number]()
        rates[number] = done / (perf_counter() - start)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def main() -> None:
    """Prints the limit as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path, nargs="+")
    for name in ("--home", "--model", "--backend", "--variant"):
        parser.add_argument(name, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    model = Store(Path(given.home)).open(given.model)
    photos = [path.read_bytes() for path in given.photos]
    print(json.dumps(measure(model, photos, given.backend, given.variant, given.seconds)))


if __name__ == "__main__":
    main()
