"""The engines side by side, without HTTP: one network, every way to run it, batches of 1 to 16.

Run ``python benchmarks/engines.py --out benchmarks/results/engines.json`` (about three minutes).
Each number of threads has a child process of its own, for torch's is global. The parent lets one
row at a time run, and all of them in turn, round after round, so that the noise of the machine hits
all alike.
"""

import multiprocessing
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from material import arguments, pixels, prepared
from measuring import Json, figures, keep, machine, ratio, show, told
from rich.progress import track

from sightbox.backends import Backend, create_backend
from sightbox.errors import SightboxError
from sightbox.machine import usable_cores
from sightbox.store import Store

IMAGES = 8
"""Pictures a visit at least: small batches are run more often."""


class Row(NamedTuple):
    """One way to run the network."""

    name: str
    backend: str
    variant: str = "fp32"
    options: tuple[tuple[str, object], ...] = ()


def _torch(name: str, mode: str, *, inference_mode: bool, channels_last: bool) -> Row:
    options = {"mode": mode, "inference_mode": inference_mode, "channels_last": channels_last}
    return Row(name, "pytorch", options=(("device", "cpu"), *options.items()))


ROWS = (
    _torch("torch eager", "eager", inference_mode=False, channels_last=False),
    _torch("torch + inference_mode", "eager", inference_mode=True, channels_last=False),
    _torch("torch + channels_last", "eager", inference_mode=True, channels_last=True),
    _torch("torch script", "script", inference_mode=True, channels_last=False),
    _torch("torch trace", "trace", inference_mode=True, channels_last=False),
    _torch("torch trace + channels_last", "trace", inference_mode=True, channels_last=True),
    Row("onnxruntime fp32", "onnxruntime"),
    Row("onnxruntime int8", "onnxruntime", "int8"),
    Row("openvino fp32", "openvino"),
    Row("openvino bf16", "openvino", "bf16"),
    Row("openvino int8", "openvino", "int8"),
    Row("dummy", "dummy"),
)
"""The first of those that run is the base of all ratios. The dummy is for trying this script."""


def main() -> None:
    """Measures, prints the table, writes the JSON."""
    parser = arguments("The engines side by side, without HTTP.")
    parser.add_argument("--only", action="append", help="name of a row; may be given again")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, usable_cores()}))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    wanted = [row for row in ROWS if row.name in (given.only or [r.name for r in ROWS[:-1]])]
    card = machine()
    with prepared(given.model, given.calibration) as (home, model):
        drawn = pixels(model, max(given.batches))
        with _children(home, model.card.name, wanted, given.threads, drawn) as children:
            absent = children[given.threads[0]].recv()
            for threads in given.threads[1:]:
                absent |= children[threads].recv()
            rows = [row for row in wanted if row.name not in absent]
            samples, first = _measure(children, rows, given.batches, given.rounds)
    measured = [
        _cell(name, threads, batch, samples[name, threads, batch], samples, rows[0].name)
        for name, threads, batch in samples
    ]
    same = {name: float(np.mean(np.equal(c, first[rows[0].name]))) for name, c in first.items()}
    result = {
        "machine": card,
        "model": model.card.name,
        "base": rows[0].name,
        "rounds": given.rounds,
        "absent": absent,
        "same_first_class": same,
        "rows": measured,
    }
    _print(result)
    keep(result, given.out)


Key = tuple[str, int, int]


def _measure(
    children: dict[int, Connection], rows: Sequence[Row], batches: Sequence[int], rounds: int
) -> tuple[dict[Key, list[float]], dict[str, list[int]]]:
    """Returns ms of each call by row, threads and batch, and the first classes each row named."""
    samples: dict[Key, list[float]] = {}
    first: dict[str, list[int]] = {}
    for _ in track(range(rounds), "Measuring"):
        for row in rows:
            for threads, child in children.items():
                child.send((row.name, batches))
                answers, times = child.recv()
                first[row.name] = answers
                for batch, ms in zip(batches, times, strict=True):
                    samples.setdefault((row.name, threads, batch), []).extend(ms)
    return samples, first


@contextmanager
def _children(
    home: Path, model: str, rows: Sequence[Row], threads: Sequence[int], drawn: np.ndarray
) -> Iterator[dict[int, Connection]]:
    context = multiprocessing.get_context("spawn")
    connections, processes = {}, []
    for count in threads:
        connections[count], other = context.Pipe()
        process = context.Process(target=_serve, args=(other, home, model, rows, count, drawn))
        process.start()
        processes.append(process)
    try:
        yield connections
    finally:
        for connection in connections.values():
            connection.send(None)
        for process in processes:
            process.join()


def _serve(
    parent: Connection,
    home: Path,
    name: str,
    rows: Sequence[Row],
    threads: int,
    drawn: np.ndarray,
) -> None:
    """Loads the rows, tells which are absent and why, and then runs what the parent asks for."""
    model = Store(home).open(name)
    backends: dict[str, Backend] = {}
    absent: dict[str, str] = {}
    for row in rows:
        try:
            if row.options:
                torch = import_module("sightbox.backends.pytorch")
                backend = torch.PyTorchBackend(**dict(row.options))
            else:
                backend = create_backend(row.backend)
            backend.load(model, threads, row.variant)
            backends[row.name] = backend
        except (ModuleNotFoundError, SightboxError) as error:
            absent[row.name] = str(error)
    parent.send(absent)
    while asked := parent.recv():
        row_name, batches = asked
        backend = backends[row_name]
        # The other rows have taken the caches meanwhile; and a first call may compile.
        answers = backend.run(drawn)["logits"].argmax(1).tolist()
        backend.run(drawn[:1])
        parent.send((answers, [_time(backend, drawn[:batch]) for batch in batches]))


def _time(backend: Backend, batch: np.ndarray) -> list[float]:
    times = []
    for _ in range(max(1, IMAGES // len(batch))):
        start = perf_counter()
        backend.run(batch)
        times.append(1000 * (perf_counter() - start))
    return times


def _cell(
    name: str,
    threads: int,
    batch: int,
    times: Sequence[float],
    samples: dict[Key, list[float]],
    base: str,
) -> Json:
    rate = 1000 * batch / statistics.median(times)
    base_rate = 1000 * batch / statistics.median(samples[base, threads, batch])
    return {
        "name": name,
        "threads": threads,
        "batch": batch,
        "ms": figures(times),
        "images_per_second": round(rate, 2),
        "ratio": ratio(rate, base_rate),
    }


def _print(result: Json) -> None:
    batches = sorted({row["batch"] for row in result["rows"]})
    found = {(row["name"], row["threads"], row["batch"]): row for row in result["rows"]}
    for threads in sorted({row["threads"] for row in result["rows"]}):
        names = list(dict.fromkeys(row["name"] for row in result["rows"]))
        show(
            f"{result['model']}, {threads} threads: img/s (times {result['base']})",
            ["", *(f"batch {batch}" for batch in batches)],
            [[name, *(_told(found[name, threads, batch]) for batch in batches)] for name in names],
        )
    for name, reason in result["absent"].items():
        print(f"{name} is absent: {reason}")


def _told(row: Json) -> str:
    return f"{told(row['images_per_second'])} ({told(row['ratio'], '.2f')})"


if __name__ == "__main__":
    main()
