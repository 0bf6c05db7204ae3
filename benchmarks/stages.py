"""Where each millisecond of one request goes, at one client, in Sightbox.

`service.py` runs it as a process of its own, beside the server that it asks.
"""

import argparse
import http.client
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from sightbox.backends import Backend, create_backend
from sightbox.classifier import Classifier
from sightbox.image import decode_image
from sightbox.preprocessing import prepare

Samples = dict[str, list[float]]

SERVER_STAGES = ("decode", "preprocess", "queue", "infer")
"""What the server's own clock tells of a request."""

SETTLING = 5
"""Calls before those that count, and as many that count."""

BATCH = 8
"""Pictures that are joined to a batch, to see what a new array for it costs."""


def measure(classifier: Classifier, backend: Backend, photos: list[bytes], url: str) -> Samples:
    """Returns the samples of every stage, ms.

    Each photo is computed by the classifier, which has the queue and a thread in front of the
    engine, by the engine directly, and by the server.
    """
    samples: Samples = {}
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    for photo in photos:
        _hand_over(classifier, backend, photo, samples)
        _ask(connection, parts.path, photo, samples)
        _tips(classifier, photo, samples)
    connection.close()
    return samples


def _add(samples: Samples, name: str, ms: float) -> None:
    samples.setdefault(name, []).append(ms)


def _timed(samples: Samples, name: str, work: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter()
    found = work()
    ms = 1000 * (perf_counter() - start)
    _add(samples, name, ms)
    return ms, found


def _hand_over(classifier: Classifier, backend: Backend, photo: bytes, samples: Samples) -> None:
    """Measures what the queue and its thread add to a call of the engine.

    The calls of a kind come one after the other: after a change of the calling thread the engine's
    own threads need a few calls to find their cores again.
    """
    batch = classifier.prepare(photo).pixels[None]
    calls: dict[str, Callable[[], object]] = {
        "queued infer": lambda: classifier.infer(batch),
        "direct infer": lambda: backend.run(batch),
    }
    ms = {}
    for name, call in calls.items():
        for _ in range(SETTLING):
            call()
        ms[name] = statistics.median(_timed(samples, name, call)[0] for _ in range(SETTLING))
    _add(samples, "handover", ms["queued infer"] - ms["direct infer"])


def _tips(classifier: Classifier, photo: bytes, samples: Samples) -> None:
    """Measures what is said to save time outside the engine."""
    recipe, image = classifier.card.recipe, decode_image(photo).pixels
    nearest = replace(recipe, interpolation="nearest")
    pixels = prepare(image, recipe)
    buffer, batch = np.empty_like(pixels), np.empty((BATCH, *pixels.shape), np.uint8)
    _timed(samples, "resize into a new array", lambda: prepare(image, recipe))
    _timed(samples, "resize into a given array", lambda: prepare(image, recipe, buffer))
    _timed(samples, "resize with NEAREST", lambda: prepare(image, nearest))
    _timed(samples, "batch of 8 in a new array", lambda: np.stack([pixels] * BATCH))
    _timed(samples, "batch of 8 in a given array", lambda: np.stack([pixels] * BATCH, out=batch))


def _ask(connection: http.client.HTTPConnection, path: str, photo: bytes, samples: Samples) -> None:
    start = perf_counter()
    connection.request("POST", path, photo)
    answer = json.load(connection.getresponse())
    latency = 1000 * (perf_counter() - start)
    timings = answer["timings_ms"]
    for stage in SERVER_STAGES:
        _add(samples, stage, timings[stage])
    _add(samples, "answer", timings["total"] - sum(timings[stage] for stage in SERVER_STAGES))
    _add(samples, "http", latency - timings["total"])
    _add(samples, "latency", latency)


def main() -> None:
    """Prints the medians of the stages as JSON, ms."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    for name in ("--home", "--model", "--backend", "--variant"):
        parser.add_argument(name, required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    photos = list(islice(cycle(path.read_bytes() for path in given.photos), given.count))
    backend = create_backend(given.backend)
    with Classifier(given.model, backend, variant=given.variant, home=given.home) as classifier:
        measure(classifier, backend, photos[:3], given.url)
        samples = measure(classifier, backend, photos, given.url)
    print(json.dumps({name: statistics.median(ms) for name, ms in samples.items()}))


if __name__ == "__main__":
    main()
