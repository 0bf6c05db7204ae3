"""Where the cores go while Sightbox serves many clients: which threads use them, for each photo.

Run ``python benchmarks/threads.py`` (half a minute). It needs Linux, whose ``/proc`` tells the time
of each thread. The server runs in this process, so that its threads have names; the client and the
machine's limit are processes of their own, as in `service.py`.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from material import arguments, photos, prepared
from measuring import Json, console, keep, machine, show, told

from sightbox.cli.classify import open_classifier
from sightbox.logs import configure
from sightbox.machine import limit_arenas, usable_cores
from sightbox.residents import Residents
from sightbox.settings import Settings, load_settings
from sightbox.web.app import create_app
from sightbox.web.server import Server

HERE = Path(__file__).parent
SERVING = "sockets"
WARM_SECONDS = 1.0

PARTS = {
    "engine": "engine's own threads: inference",
    "waitress": "request threads: decode, resize, Flask, answer",
    SERVING: "socket thread: reading, parsing, accepting",
    "sightbox-engine": "queue threads: batches in and out",
}
"""A thread's name without its number, and what it does; the engine's own are not Python's."""


def main() -> int:
    """Measures, prints the table, writes the JSON, and returns the exit code."""
    given = _arguments()
    if not Path("/proc/self/task").is_dir():
        console.print("This system does not tell the time of each thread; Linux does.")
        return 1
    card = machine()
    chosen = dict(word.split("=", 1) for word in given.sightbox.split())
    with (
        photos(given.photos, given.count) as files,
        prepared(given.model, given.calibration) as (home, model),
    ):
        settings = load_settings(home=home, model=model.card.name, port=0, **chosen)
        with _serving(settings) as url:
            _load(url, files, given.clients, WARM_SECONDS)
            rounds = [_round(url, files, given) for _ in range(given.rounds)]
        where = ("--home", str(home), "--model", model.card.name)
        how = (
            "--backend",
            settings.backend or "onnxruntime",
            "--variant",
            settings.variant or "fp32",
        )
        long = ("--seconds", str(given.seconds / 2))
        limit = _json([HERE / "limit.py", *files, *where, *how, *long])
    ms = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    cores = usable_cores()
    result = {
        "machine": card,
        "model": model.card.name,
        "settings": given.sightbox,
        "clients": given.clients,
        "cores": cores,
        "ms": {name: round(value, 3) for name, value in ms.items()},
        "limit_ms": round(1000 * cores / max(limit["measured"], limit["formula"]), 3),
    }
    _print(result)
    keep(result, given.out)
    return 0


def _arguments() -> Any:  # noqa: ANN401 - argparse's namespace
    parser = arguments("Where the cores go while Sightbox serves many clients.")
    parser.add_argument("--sightbox", default="", metavar="SETTINGS", help="see service.py")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=32, help="photos that are sent in turn")
    return parser.parse_args()


@contextmanager
def _serving(settings: Settings) -> Iterator[str]:
    """Serves as ``sightbox serve`` does, and gives the URL; the access log goes nowhere."""
    limit_arenas(usable_cores())
    with (
        Path(os.devnull).open("w") as nowhere,
        open_classifier(settings) as classifier,
        Residents(classifier, settings) as residents,
    ):
        sys.stderr, shown = nowhere, sys.stderr
        configure(settings.log_format, settings.log_level)
        sys.stderr = shown
        server = Server(create_app(classifier, settings, residents), settings)
        thread = threading.Thread(target=server.run, name=SERVING)
        thread.start()
        try:
            yield f"{server.url}/v1/classify"
        finally:
            server.stop()
            thread.join()


def _round(url: str, files: Sequence[Path], given: Any) -> Json:  # noqa: ANN401 - argparse's namespace
    """Returns ms of a core for each photo, by part."""
    before = _seconds()
    run = _load(url, files, given.clients, given.seconds)
    used = {part: seconds - before[part] for part, seconds in _seconds().items()}
    count = len(run["ms"])
    client = run["cpu_share"] * run["seconds"]
    whole = usable_cores() * run["seconds"]
    found = {what: 1000 * used[part] / count for part, what in PARTS.items()}
    return found | {
        "client": 1000 * client / count,
        "nobody, or other programs": 1000 * (whole - client - sum(used.values())) / count,
        "all": 1000 * whole / count,
    }


def _seconds() -> dict[str, float]:
    """Returns the seconds of processor that the server's threads have used, by part."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    ticks = os.sysconf("SC_CLK_TCK")
    used = dict.fromkeys(PARTS, 0.0)
    for task in Path("/proc/self/task").iterdir():
        name = names.get(int(task.name), "engine")
        part = next((part for part in PARTS if name.startswith(part)), None)
        if part is None:
            continue  # the thread of this script
        # The name, in brackets, may have blanks (proc_pid_stat(5): utime and stime are 14 and 15).
        fields = (task / "stat").read_text("utf-8").rpartition(")")[2].split()
        used[part] += (int(fields[11]) + int(fields[12])) / ticks
    return used


def _load(url: str, files: Sequence[Path], clients: int, seconds: float) -> Json:
    words = ("--clients", str(clients), "--seconds", str(seconds), "--least", str(2 * clients))
    return _json([HERE / "load.py", url, *files, *words])


def _json(command: Sequence[str | Path]) -> Json:
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE, check=True)
    found: Json = json.loads(done.stdout)
    return found


def _print(result: Json) -> None:
    everything = result["ms"]["all"]
    asked = f"{result['model']} {result['settings']}, {result['clients']} clients"
    show(
        f"{asked}: ms of a core a photo",
        ["", "ms", "part"],
        [
            [name, told(ms, ".2f"), told(ms / everything, ".0%")]
            for name, ms in (*result["ms"].items(), ("the machine's limit", result["limit_ms"]))
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
