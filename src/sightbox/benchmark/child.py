"""The process in which one way is measured: it does what the lines of its input ask for.

It says a line when it begins, when it has imported, loaded and answered: whoever started it tells
from them how long each took. Nothing heavy is imported before it has said that it begins.
"""

import base64
import json
import os
import signal
import sys
from importlib import import_module
from typing import IO, Any

Json = dict[str, Any]


def main() -> None:
    """Opens what the first line tells, then times what the others ask for, until they end."""
    # Ctrl-C reaches all processes of a terminal; the parent ends this one by closing its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a runtime prints must not come between the lines.
    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    errors = import_module("sightbox.errors")
    _say(told, {"step": "begun"})
    try:
        _serve(json.loads(sys.stdin.readline()), told)
    except errors.SightboxError as error:
        _say(told, {"problem": str(error)})
    except ModuleNotFoundError as error:
        _say(told, {"problem": f"{error.name} is not installed."})


def _serve(order: Json, told: IO[str]) -> None:
    pictures = [base64.b64decode(each) for each in order["pictures"]]
    probes = import_module("sightbox.benchmark.probe")
    way = probes.Way(**order["way"])
    backend = import_module("sightbox.backends").create_backend(way.backend, way.device)
    _say(told, {"step": "imported"})
    probe = probes.Probe(order["model"], order["home"], backend, way, pictures)
    _say(told, {"step": "loaded"})
    try:
        probe.first()
        _say(told, {"step": "answered"})
        logits = probe.answers()
        text = base64.b64encode(logits.astype("<f4").tobytes()).decode()
        _say(told, {"logits": text, "shape": list(logits.shape)})
        for line in sys.stdin:
            asked = json.loads(line)
            # The name of one of the subject's methods, and its arguments.
            answer = getattr(probe, asked.pop("do"))(**asked)
            _say(told, vars(answer))
    finally:
        probe.close()


def _say(told: IO[str], message: Json) -> None:
    print(json.dumps(message), file=told, flush=True)


if __name__ == "__main__":
    main()
