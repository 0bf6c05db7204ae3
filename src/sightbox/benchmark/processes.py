"""A way in a process of its own: its start, its memory and its threads are nobody else's."""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from sightbox.benchmark.probe import Memory, Start, Visit, Way
from sightbox.errors import BackendError

STEPS = {"begun": "interpreter", "imported": "import", "loaded": "load", "answered": "first answer"}
"""What the child has done when it says so, and what the time since then was spent on."""

PATIENCE = 10
"""Seconds that a child may take to end."""


class Process:
    """Opens a way in a child, and times it there.

    Args:
        model: Name of the model.
        home: Folder of the models.
        way: The way.
        pictures: Encoded pictures.
    """

    def __init__(self, model: str, home: str, way: Way, pictures: Sequence[bytes]) -> None:
        self.way = way
        self._order = {
            "model": model,
            "home": home,
            "way": vars(way),
            "pictures": [base64.b64encode(picture).decode() for picture in pictures],
        }
        self._child: subprocess.Popen[str] | None = None

    def start(self) -> Start:
        """Opens it.

        Raises:
            BackendError: It does not start.
        """
        begun = perf_counter()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "sightbox.benchmark.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._write(self._order)
        stages: dict[str, float] = {}
        for step, stage in STEPS.items():
            said = self._read()
            if said.get("step") != step:
                raise BackendError(f"The process said {said} instead of {step}.")
            moment = perf_counter()
            stages[stage] = moment - begun
            begun = moment
        said = self._read()
        raw = np.frombuffer(base64.b64decode(said["logits"]), "<f4").reshape(said["shape"])
        return Start(stages, raw.astype(np.float32))

    def whole(self, calls: int) -> Visit:
        """Times calls from the bytes of the first picture to the answer."""
        return Visit(**self._ask(do="whole", calls=calls))

    def engine(self, batch: int, calls: int) -> Visit:
        """Times calls of the engine with batches of prepared pictures."""
        return Visit(**self._ask(do="engine", batch=batch, calls=calls))

    def memory(self) -> Memory:
        """Returns what its process has in RAM."""
        return Memory(**self._ask(do="memory"))

    def close(self) -> None:
        """Ends it; may be called twice."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.communicate(timeout=PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            child.kill()
            child.communicate()

    def _ask(self, **order: object) -> dict[str, Any]:
        self._write(order)
        return self._read()

    def _write(self, message: object) -> None:
        if self._child is None or self._child.stdin is None:
            raise BackendError(f"{self.way} is not open.")
        try:
            self._child.stdin.write(json.dumps(message) + "\n")
            self._child.stdin.flush()
        except OSError as error:
            raise BackendError(self._end()) from error

    def _read(self) -> dict[str, Any]:
        if self._child is None or self._child.stdout is None:
            raise BackendError(f"{self.way} is not open.")
        line = self._child.stdout.readline()
        if not line:
            raise BackendError(self._end())
        said: dict[str, Any] = json.loads(line)
        if "problem" in said:
            raise BackendError(said["problem"])
        return said

    def _end(self) -> str:
        """Waits for a child that says no more, and tells how it ended."""
        child = self._child
        self.close()
        return f"Its process ended with the code {child and child.returncode}."
