"""The servers that are compared: how each is started, when it answers, what memory it holds."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from tempfile import TemporaryFile
from typing import IO

import psutil

from sightbox.model import Model
from sightbox.settings_table import PREFIX

HERE = Path(__file__).parent
LONGEST_START = 120.0
"""Seconds after which a server that does not answer is given up."""

LONGEST_STOP = 10.0
"""Seconds that a server has to stop."""

TORCH = "Flask + torch eager"
WAITRESS = "Flask on waitress + ONNX Runtime"
LITSERVE = "LitServe + ONNX Runtime"
MOSEC = "mosec + ONNX Runtime"


@dataclass(frozen=True)
class Contestant:
    """A server to compare.

    Attributes:
        name: What it is called in tables.
        module: What Python runs, with ``-m``.
        route: Where photos are posted.
        arguments: What the module is given before the port.
        environment: Variables of its environment.
        needs: Modules that must be installed.
        exact: Whether its answers must be the exact network's.
        settings: Sightbox's settings; None for a rival.
    """

    name: str
    module: str
    route: str = "/classify"
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    exact: bool = True
    settings: Mapping[str, str] | None = None


def sightbox(settings: str, home: Path, model: Model) -> Contestant:
    """Returns Sightbox with settings such as ``backend=openvino variant=int8``."""
    chosen = dict(word.split("=", 1) for word in settings.split())
    # Instead of the user's own, whose settings would take part.
    config = home / "sightbox.toml"
    config.touch()
    return Contestant(
        f"Sightbox {settings}".strip(),
        "sightbox",
        "/v1/classify",
        ("serve",),
        {
            "SIGHTBOX_CONFIG": str(config),
            "SIGHTBOX_HOME": str(home),
            "SIGHTBOX_MODEL": model.card.name,
            **{f"{PREFIX}{name.upper()}": value for name, value in chosen.items()},
        },
        ("openvino",) if chosen.get("backend") == "openvino" else (),
        exact=chosen.get("variant", "fp32") == "fp32",
        settings=chosen,
    )


def rivals(folder: Path) -> list[Contestant]:
    """Returns the rivals, for a model's folder."""
    given = ("--folder", str(folder))
    needs = ("torch", "torchvision", "safetensors")
    return [
        Contestant(TORCH, "rivals.flask_torch", arguments=given, needs=needs),
        Contestant(WAITRESS, "rivals.waitress_onnxruntime", arguments=given),
        Contestant(LITSERVE, "rivals.litserve_onnxruntime", arguments=given, needs=("litserve",)),
        Contestant(
            MOSEC,
            "rivals.mosec_onnxruntime",
            "/inference",
            ("--log-level", "error"),
            {"RIVAL_FOLDER": str(folder)},
            ("mosec",),
        ),
    ]


class Server:
    """A server that runs.

    Attributes:
        url: Where photos are posted.
        first_answer: Seconds from the start of the process to its first right answer.
    """

    def __init__(self, process: psutil.Process, url: str, first_answer: float) -> None:
        self.url, self.first_answer = url, first_answer
        self._process = process

    def memory(self) -> dict[str, float]:
        """Returns MiB of the whole tree of processes: RSS counts shared pages each time."""
        tree = [self._process, *self._process.children(recursive=True)]
        infos = [process.memory_full_info() for process in tree]
        # PSS, which shares them out, is Linux's alone.
        pss = sum(getattr(info, "pss", info.rss) for info in infos)
        rss = sum(info.rss for info in infos)
        return {"rss": rss / 2**20, "pss": pss / 2**20, "processes": len(tree)}


@contextmanager
def running(contestant: Contestant, photo: bytes) -> Iterator[Server]:
    """Starts a server on a free port, waits for its first answer, and stops it at the end.

    Raises:
        RuntimeError: It does not start; the message has its last words.
    """
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The rivals' ONNX Runtime must send no usage data either.
    environment = {name: value for name, value in os.environ.items() if PREFIX not in name}
    environment |= {"ORT_DISABLE_TELEMETRY": "1"} | dict(contestant.environment)
    command = [sys.executable, "-m", contestant.module, *contestant.arguments, "--port", str(port)]
    start = time.perf_counter()
    # A file: a pipe that nobody reads would stop who logs each request.
    with (
        TemporaryFile() as log,
        subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=log
        ) as child,
    ):
        url = f"http://127.0.0.1:{port}{contestant.route}"
        process = psutil.Process(child.pid)
        try:
            _wait(child, url, photo, contestant.name, log)
            yield Server(process, url, time.perf_counter() - start)
        finally:
            _stop(process)


def _wait(
    child: "subprocess.Popen[bytes]", url: str, photo: bytes, name: str, log: IO[bytes]
) -> None:
    deadline = time.monotonic() + LONGEST_START
    while not _answers(url, photo):
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            log.seek(0)
            words = log.read().decode(errors="replace")
            raise RuntimeError(f"{name} does not start: {words[-1000:]}")
        time.sleep(0.02)


def _answers(url: str, photo: bytes) -> bool:
    headers = {"Content-Type": "application/octet-stream"}
    asked = urllib.request.Request(url, photo, headers)  # noqa: S310 - our own URL
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            return bool(json.load(answer)["predictions"])
    except (OSError, urllib.error.HTTPError, ValueError, LookupError):
        return False


def _stop(process: psutil.Process) -> None:
    try:
        tree = process.children(recursive=True)
        process.terminate()
    except psutil.NoSuchProcess:
        return
    _, left = psutil.wait_procs([process, *tree], LONGEST_STOP)
    for each in left:
        each.kill()
