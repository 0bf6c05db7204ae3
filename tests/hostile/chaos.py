"""Good and bad requests at random over many connections, and what became of them.

Run ``python tests/hostile/chaos.py --requests 10000``. Two servers take part as processes of their
own: nine requests of ten go to the dummy backend, whose answer depends on every pixel, the others
to the embedded model. Exit code 1: something was lost, wrong, a server error, or not given back.
"""

import argparse
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests")] if str(ROOT / "tests") not in sys.path else []

from hostile.corpus import END, GROUPS, PART, Case  # noqa: E402 - as a script it needs the path
from hostile.pictures import noise, saved  # noqa: E402
from sightbox.classifier import Classifier  # noqa: E402
from sightbox.prediction import Prediction  # noqa: E402

BACKENDS = ("dummy", "onnxruntime")
DUMMY_PART = 0.9
BAD_PART = 0.3
GONE_PART = 0.1
"""Parts of the requests that are bad, and whose client goes away."""

TOLERANCE = 1e-3
"""How far a probability may be from the one computed alone: other batches round otherwise."""

IDLE_SECONDS, IDLE_LOOKS = 3.0, 6
"""How long a server is left alone before its memory is measured: it gives it back when idle."""

GROWTH = 0.05
"""Most growth of a server's memory, as a part."""

WARM_ROUNDS, FLAT = 5, 0.01
"""Most rounds of warming up, each a tenth of the requests, and the growth in one of them, as a
part, with which they end. What grows more in each round would be far above `GROWTH` in the run."""


@dataclass(frozen=True)
class Photo:
    """A picture, and its best class and probability for each backend."""

    data: bytes
    expected: dict[str, tuple[int, float]]


@dataclass
class Report:
    """What became of the requests.

    Attributes:
        counts: ``right``, ``refused``, ``gone``; and what must not be: ``wrong``, ``lost``,
            ``unexpected``, ``server error``.
        examples: The first of each that must not be.
        memory: Resident MiB of each server before and after.
        alive: Whether each server answered a good request at the end.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    alive: bool = False

    @property
    def growth(self) -> float:
        """The largest growth of a server's memory, as a part of what it had."""
        return max(after / before - 1 for before, after in self.memory.values())

    @property
    def failed(self) -> int:
        """How many requests ended as they must not."""
        return sum(self.counts[name] for name in ("wrong", "lost", "unexpected", "server error"))


class Chaos:
    """One run.

    Args:
        urls: The address of each backend's server.
        photos: What good requests send.
        bad: What bad requests send.
    """

    def __init__(self, urls: dict[str, str], photos: Sequence[Photo], bad: Sequence[Case]) -> None:
        self.report = Report()
        self._hosts = {name: url.removeprefix("http://") for name, url in urls.items()}
        self._photos, self._bad = photos, bad
        self._dummy_part = DUMMY_PART
        self._lock = threading.Lock()

    def run(
        self, requests: int, connections: int, seed: int, dummy_part: float = DUMMY_PART
    ) -> None:
        """Sends requests over connections, each with dice of its own."""
        self._dummy_part = dummy_part
        shares = [
            requests // connections + (n < requests % connections) for n in range(connections)
        ]
        threads = [
            threading.Thread(target=self._client, args=(share, random.Random(f"{seed} {number}")))
            for number, share in enumerate(shares)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def ask(
        self, backend: str, connection: http.client.HTTPConnection, dice: random.Random
    ) -> None:
        """Sends a good request and compares the answer."""
        photo = dice.choice(self._photos)
        body, headers = _spelled(photo.data, dice)
        if _is_over(connection):
            connection.close()
        try:
            connection.request("POST", "/v1/classify", body, headers, encode_chunked=True)
            response = connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            self._count("lost", repr(error))
            return
        if response.status != 200:
            kind = "server error" if response.status >= 500 else "wrong"
            self._count(kind, f"{response.status} {content[:200]!r}")
            return
        answer = json.loads(content)
        best = answer.get("results", [answer])[0]["predictions"][0]
        index, score = photo.expected[backend]
        right = best["index"] == index and abs(best["score"] - score) < TOLERANCE
        self._count("right" if right else "wrong", f"{best} instead of {index}, {score}")

    def _client(self, share: int, dice: random.Random) -> None:
        with ExitStack() as stack:
            connections = {
                name: http.client.HTTPConnection(host, timeout=120)
                for name, host in self._hosts.items()
            }
            for connection in connections.values():
                stack.callback(connection.close)
            for _ in range(share):
                backend = BACKENDS[dice.random() >= self._dummy_part]
                kind = dice.random()
                if kind < BAD_PART:
                    self._send_bad(backend, dice.choice(self._bad))
                elif kind < BAD_PART + GONE_PART:
                    self._go_away(backend, dice)
                else:
                    self.ask(backend, connections[backend], dice)

    def _send_bad(self, backend: str, case: Case) -> None:
        status, body = 0, b""
        try:
            with self._connect(backend) as connection:
                connection.sendall(case.request)
                if case.ends:
                    connection.shutdown(socket.SHUT_WR)
                response = http.client.HTTPResponse(connection)
                response.begin()
                status, body = response.status, response.read()
        except (http.client.HTTPException, OSError) as error:
            body = repr(error).encode()
        if status in case.allowed:
            self._count("refused" if status != 200 else "right")
        else:
            kind = "server error" if status >= 500 else "unexpected"
            self._count(kind, f"{case.name}: {status} {body[:200]!r}")

    def _go_away(self, backend: str, dice: random.Random) -> None:
        """Sends a good request whole or in part, and does not wait for the answer."""
        body = dice.choice(self._photos).data
        head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        request = head % len(body) + body
        with self._connect(backend) as connection:
            connection.sendall(request[: dice.choice([10, len(request) // 2, len(request)])])
        self._count("gone")

    def _connect(self, backend: str) -> socket.socket:
        host, _, port = self._hosts[backend].partition(":")
        return socket.create_connection((host, int(port)), timeout=120)

    def _count(self, kind: str, example: str = "") -> None:
        with self._lock:
            self.report.counts[kind] += 1
            self.report.examples.setdefault(kind, example)


def chaos(
    requests: int, connections: int = 32, seed: int = 0, largest: int | None = None
) -> Report:
    """Starts the servers, warms them up, sends the requests, and returns what became of them.

    Args:
        requests: How many.
        connections: How many at a time.
        seed: Of the dice.
        largest: Most bytes of a bad request; all when None.
    """
    photos = _photos()
    cases = [case for group in GROUPS for case in group()]
    bad = [case for case in cases if largest is None or len(case.request) <= largest]
    with ExitStack() as stack:
        servers = {name: stack.enter_context(_server(name)) for name in BACKENDS}
        run = Chaos({name: url for name, (_, url) in servers.items()}, photos, bad)
        processes = {name: process for name, (process, _) in servers.items()}
        before = _warm_up(run, processes, max(connections * 2, requests // 10), connections, seed)
        warm, run.report = run.report, Report()
        run.run(requests, connections, seed)
        if warm.failed:
            run.report.counts += warm.counts
            run.report.examples |= warm.examples
        dice = random.Random(seed)
        found = Chaos({name: url for name, (_, url) in servers.items()}, photos, bad)
        for name, (_, url) in servers.items():
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
            found.ask(name, connection, dice)
            connection.close()
        after = _megabytes(processes)
        run.report.memory = {name: (before[name], after[name]) for name in processes}
        run.report.alive = found.report.counts == {"right": len(BACKENDS)}
        return run.report


def _warm_up(
    run: Chaos, processes: dict[str, psutil.Process], requests: int, connections: int, seed: int
) -> dict[str, float]:
    """Sends rounds of the same good and bad requests until the memory is level, and returns it.

    Libraries are loaded late, a heap takes its shape, and a runtime keeps what its largest batch
    took. Each server gets half of a round, so that the one that gets few requests is warm too.
    """
    level = _megabytes(processes)
    for number in range(WARM_ROUNDS):
        run.run(requests, connections, seed + 1 + number, dummy_part=0.5)
        before, level = level, _megabytes(processes)
        if all(level[name] <= (1 + FLAT) * before[name] for name in processes):
            break
    return level


def _spelled(data: bytes, dice: random.Random) -> tuple[Any, dict[str, str]]:
    """Spells a request's body as it is, as a form, or in chunks."""
    match dice.randrange(3):
        case 0:
            return data, {}
        case 1:
            return PART + data + END, {"Content-Type": "multipart/form-data; boundary=b"}
        case _:
            return iter([data[:1000], data[1000:]]), {"Transfer-Encoding": "chunked"}


def _is_over(connection: http.client.HTTPConnection) -> bool:
    """Tells whether the server has closed a connection that was silent for too long."""
    if connection.sock is None:
        return False
    connection.sock.setblocking(False)
    try:
        return connection.sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.sock.settimeout(connection.timeout)


def _photos() -> list[Photo]:
    """Draws pictures of several kinds and sizes, and classifies each alone."""
    sizes = [(320 + 16 * number, 240 + 8 * number) for number in range(12)]
    kinds = ("PNG", "JPEG", "WEBP", "BMP")
    files = [
        saved(noise(*size).rotate(30 * number), kinds[number % len(kinds)])
        for number, size in enumerate(sizes)
    ]
    expected: list[dict[str, tuple[int, float]]] = [{} for _ in files]
    for backend in BACKENDS:
        with Classifier(backend=backend, variant="fp32") as classifier:
            for place, answer in zip(expected, classifier.classify_many(files), strict=True):
                if not isinstance(answer, Prediction):
                    raise answer
                place[backend] = answer.top.index, answer.top.score
    return [Photo(*pair) for pair in zip(files, expected, strict=True)]


@contextmanager
def _server(backend: str) -> Iterator[tuple[psutil.Process, str]]:
    command = [sys.executable, "-W", "ignore", "-m", "sightbox", "serve", "--port", "0"]
    environment = os.environ | {"SIGHTBOX_VARIANT": "fp32", "SIGHTBOX_BACKEND": backend}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        try:
            found = re.search(r"http://\S+", child.stdout.readline() if child.stdout else "")
            yield psutil.Process(child.pid), found.group() if found else ""
        finally:
            child.terminate()


def _megabytes(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Returns the resident MiB of servers, once they have given back what they do not need."""
    found = {name: process.memory_info().rss for name, process in processes.items()}
    for _ in range(IDLE_LOOKS):
        time.sleep(IDLE_SECONDS / IDLE_LOOKS)
        for name, process in processes.items():
            found[name] = min(found[name], process.memory_info().rss)
    return {name: rss / 2**20 for name, rss in found.items()}


def main() -> int:
    """Prints what became of the requests, and returns the exit code."""
    parser = argparse.ArgumentParser(description="Good and bad requests at random.")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = chaos(given.requests, given.connections, given.seed)
    print(f"{given.requests} requests over {given.connections} connections")
    for kind, count in report.counts.most_common():
        print(f"{count:7,} {kind} {report.examples[kind] if kind not in RIGHT else ''}")
    for name, (before, after) in report.memory.items():
        print(f"{name}: {before:.1f} MiB before, {after:.1f} after ({after / before - 1:+.1%})")
    print("Both servers answer." if report.alive else "A server does not answer.")
    return 1 if report.failed or not report.alive or report.growth > GROWTH else 0


RIGHT = frozenset({"right", "refused", "gone"})
"""How requests may end."""

if __name__ == "__main__":
    sys.exit(main())
