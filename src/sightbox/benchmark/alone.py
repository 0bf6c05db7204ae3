"""A short run in a process of its own: ``python -m sightbox.benchmark.alone``.

Whoever starts it writes one line, the order, and gets a line for each step and one at the end. The
run ends with its owner: when its input closes, it and the processes that it started are ended.
Nothing heavy is imported before it watches for that.
"""

import json
import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import IO, Any

Json = dict[str, Any]


def main() -> None:
    """Measures what the first line asks for, and tells the report."""
    # Ctrl-C reaches all processes of a terminal; the owner ends this one by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a runtime prints must not come between the lines.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_owner, name="owner", daemon=True).start()
    errors = import_module("sightbox.errors")
    try:
        _measure(order, told)
    except errors.SightboxError as error:
        _say(told, {"problem": str(error)})


def _measure(order: Json, told: IO[str]) -> None:
    ways, efforts = (import_module(f"sightbox.benchmark.{name}") for name in ("ways", "measuring"))
    store = import_module("sightbox.store").Store(Path(order["home"]))
    report = ways.bench(
        store,
        store.open(order["model"]),
        efforts.QUICK,
        lambda step, done, total: _say(told, step_to_json(step, done, total)),
    )
    _say(told, {"report": report})


def step_to_json(step: str, done: int, total: int) -> Json:
    """Takes a step of `sightbox.benchmark.measuring.measure` apart, for pages to translate.

    Args:
        step: Such as ``openvino int8: batches, round 2``.
        done: Steps that are done.
        total: Steps of the run.
    """
    way, _, rest = step.rpartition(": ")
    phase, _, number = rest.partition(", round ")
    return {
        "way": way,
        "phase": phase,
        "round": int(number) if number else None,
        "done": done,
        "total": total,
    }


def _end_with_owner() -> None:
    # Not through sys.stdin: the interpreter cannot end while a thread holds its lock.
    while os.read(0, 1024):
        pass
    if hasattr(os, "killpg"):
        # The ways' processes are of this one's group. They would end by themselves, but later.
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _say(told: IO[str], message: Json) -> None:
    print(json.dumps(message), file=told, flush=True)


if __name__ == "__main__":
    main()
