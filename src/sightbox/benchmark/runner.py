"""Runs the benchmark for somebody who watches, one run at a time, in a process of its own.

So the memory and the threads of whoever asks stay as they are, and what a runtime may do to its
process it does to another one.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal

from sightbox.benchmark.gate import Mark
from sightbox.benchmark.last import keep_last, last_report
from sightbox.benchmark.report import Json
from sightbox.errors import BackendError, ClosedError, SightboxError

BEGIN = "begin"
"""The phase before the run has told one."""

Outcome = Literal["", "done", "cancelled", "failed"]

logger = logging.getLogger(__name__)


class RunGoesOnError(SightboxError):
    """A run was asked for while another one goes on."""

    code = "benchmark_running"
    title = "A benchmark is running already"
    status = 409


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        running: Whether one goes on.
        outcome: How the last one ended; empty where there was none, or it goes on.
        problem: Why it gave no report, or why that is not kept; for people.
        way: What is measured now; empty where it is none of the ways.
        phase: What is done with it.
        round: Which round of that; None where there are none.
        done: Steps that are done.
        total: Steps of the run; 0 until it has told.
        seconds: How long it has been going on.
    """

    running: bool = False
    outcome: Outcome = ""
    problem: str | None = None
    way: str = ""
    phase: str = ""
    round: int | None = None
    done: int = 0
    total: int = 0
    seconds: float = 0.0

    def to_json(self) -> Json:
        """Returns it as JSON values."""
        return asdict(self) | {"seconds": round(self.seconds, 1)}


class Runner:
    """Starts runs, tells how far they are, and keeps their reports.

    Args:
        home: Folder of the models, where the last report is kept.
        model: Name of the model that is measured.
        clock: Tells seconds.
    """

    def __init__(self, home: Path, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._model, self._clock = home, model, clock
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._progress = Progress()
        self._report: Json | None = None
        self._begun = 0.0
        self._answered = 0
        self._cancelled = self._closed = False

    def start(self) -> None:
        """Starts a run.

        Raises:
            RunGoesOnError: One goes on.
            ClosedError: Nothing is started any more.
            BackendError: The system starts no process.
        """
        with self._lock:
            if self._closed:
                raise ClosedError("The server is stopping.")
            if self._progress.running:
                raise RunGoesOnError(
                    "A benchmark is running already.", "Wait for its end, or cancel it."
                )
            child = self._child = _spawn({"home": str(self._home), "model": self._model})
            self._progress = Progress(running=True, phase=BEGIN)
            self._begun, self._answered, self._cancelled = self._clock(), 0, False
            self._thread = threading.Thread(
                target=self._follow, args=(child,), name="sightbox-benchmark"
            )
            self._thread.start()

    def progress(self) -> Progress:
        """Returns how far the run is."""
        with self._lock:
            if not self._progress.running:
                return self._progress
            return replace(self._progress, seconds=self._clock() - self._begun)

    def report(self) -> Json | None:
        """Returns the newest report: that of the home, or this runner's where none can be kept."""
        known = [each for each in (self._report, last_report(self._home)) if each is not None]
        return max(known, key=lambda each: str(each["date"]), default=None)

    def note_answer(self) -> None:
        """Counts what the server answers meanwhile: it takes time from what is measured."""
        with self._lock:
            self._answered += self._progress.running

    def cancel(self) -> None:
        """Ends the run, if one goes on; its report is dropped. Returns when it has ended."""
        with self._lock:
            child, thread = self._child, self._thread
            if child is not None:
                self._cancelled = True
                _kill(child)
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """Ends the run, and starts none any more. It may be called twice."""
        with self._lock:
            self._closed = True
        self.cancel()

    def _follow(self, child: "subprocess.Popen[str]") -> None:
        """Reads what a run says until it ends."""
        report: Json | None = None
        problem: str | None = None
        try:
            for line in _lines(child):
                said: Json = json.loads(line)
                if "report" in said:
                    report = said["report"]
                elif "problem" in said:
                    problem = said["problem"]
                else:
                    with self._lock:
                        self._progress = replace(self._progress, **said)
        except (ValueError, TypeError) as error:
            logger.exception("The benchmark says what nobody understands.")
            report, problem = None, f"Its process says what nobody understands: {error}."
            _kill(child)
        code = child.wait()
        _stream(child.stdin).close()
        with self._lock:
            done = report is not None and not self._cancelled
        if done and report is not None:
            # Not under the lock: the disk may be slow, and each answer is counted under it.
            problem = self._keep(report)
        with self._lock:
            if done:
                outcome: Outcome = "done"
            else:
                outcome = "cancelled" if self._cancelled else "failed"
                problem = problem or f"Its process ended with the code {code}."
            self._child = None
            self._progress = Progress(
                outcome=outcome,
                problem=None if outcome == "cancelled" else problem,
                seconds=self._clock() - self._begun,
            )

    def _keep(self, report: Json) -> str | None:
        """Keeps a report, with the mark of what was answered; returns why it could not be kept."""
        if self._answered:
            report["marks"].append(Mark("answering", str(self._answered)).to_json())
        self._report = report
        problem = keep_last(self._home, report)
        if problem is not None:
            logger.warning("The report of the benchmark is not kept: %s", problem)
        return problem


def _spawn(order: Json) -> "subprocess.Popen[str]":
    """Starts a run.

    Raises:
        BackendError: The system starts no process.
    """
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "sightbox.benchmark.alone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # It and all that it starts are ended as one group.
            start_new_session=os.name == "posix",
        )
    except OSError as error:
        raise BackendError(f"The benchmark cannot be started: {error.strerror}.") from error
    # A pipe holds so little even before anybody reads it.
    _stream(child.stdin).write(json.dumps(order) + "\n")
    _stream(child.stdin).flush()
    return child


def _kill(child: "subprocess.Popen[str]") -> None:
    """Ends a run at once, and what it started: it has written nothing that could be half."""
    if os.name != "posix":
        child.kill()
    elif child.poll() is None:
        # It may end just now.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _lines(child: "subprocess.Popen[str]") -> Iterator[str]:
    """Yields what a run says, without a last line that it could not finish."""
    with _stream(child.stdout) as said:
        for line in said:
            if line.endswith("\n"):
                yield line


def _stream(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise ValueError("The process has no such stream.")
    return stream
