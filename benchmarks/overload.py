"""More photos than can be answered: how many still are, how long they take, and what the rest hear.

Run ``python benchmarks/overload.py --out benchmarks/results/overload.json`` (about two minutes).
Each round measures the capacity with a closed loop of clients, before and after, and in between
asks several times as often for some seconds, without waiting for answers. Exit code 1: something
else than a photo's answer or "try again soon" (503) came, or nothing.
"""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from material import arguments, photos, prepared
from measuring import Json, console, figures, keep, machine, show, told
from servers import Server, running, sightbox

from sightbox.settings import Settings

HERE = Path(__file__).parent
CLIENTS = 16
"""Clients of the closed loop: as many as there are threads, so that none is ever idle."""

WARM_SECONDS = 1.0
REFUSED = 503


def main() -> int:
    """Measures, prints the table, writes the JSON, and returns the exit code."""
    given = _arguments()
    card = machine()
    with (
        photos(given.photos, given.count) as files,
        prepared(given.model, given.calibration) as (home, model),
        running(sightbox(given.sightbox, home, model), files[0].read_bytes()) as server,
    ):
        _closed(server, files, WARM_SECONDS)
        rounds = []
        for number in range(given.rounds):
            console.print(f"Round {number + 1} of {given.rounds}")
            rounds.append(_round(server, files, given))
    result = {
        "machine": card,
        "model": model.card.name,
        "settings": given.sightbox,
        "factor": given.factor,
        "seconds": given.seconds,
        "rounds": rounds,
    }
    _print(result)
    keep(result, given.out)
    return 1 if any(each["other"] for each in rounds) else 0


def _arguments() -> Any:  # noqa: ANN401 - argparse's namespace
    parser = arguments("Sightbox at several times its capacity.")
    parser.add_argument("--sightbox", default="", metavar="SETTINGS", help="see service.py")
    parser.add_argument("--factor", type=float, default=4.0, help="times the capacity")
    parser.add_argument("--seconds", type=float, default=20.0, help="of overload")
    parser.add_argument("--measuring", type=float, default=5.0, help="seconds for the capacity")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=32, help="photos that are sent in turn")
    return parser.parse_args()


def _round(server: Server, files: Sequence[Path], given: Any) -> Json:  # noqa: ANN401 - argparse's namespace
    before = _closed(server, files, given.measuring)
    rate = given.factor * before
    words = ("--rate", str(rate), "--seconds", str(given.seconds))
    found = _json([HERE / "open_load.py", server.url, *map(str, files), *words])
    capacity = statistics.mean((before, _closed(server, files, given.measuring)))
    statuses = Counter(status for *_, status in found["samples"])
    accepted = [ms for _, ms, status in found["samples"] if status == 200]
    in_time = sum(
        asked + ms / 1000 <= given.seconds
        for asked, ms, status in found["samples"]
        if status == 200
    )
    refused = [ms for _, ms, status in found["samples"] if status == REFUSED]
    settings = Settings.model_fields
    places = settings["queue_size"].default + settings["http_threads"].default
    return {
        "capacity": round(capacity, 2),
        "asked": round(len(found["samples"]) / given.seconds, 2),
        "goodput": round(in_time / given.seconds, 2),
        "goodput_ratio": round(in_time / given.seconds / capacity, 3),
        "accepted_ms": figures(accepted or [0.0]),
        "queue_bound_ms": round(1000 * places / capacity, 1),
        "refused_share": round(statuses[REFUSED] / max(1, len(found["samples"])), 3),
        "refused_ms": figures(refused or [0.0]),
        "other": len(found["samples"]) - statuses[200] - statuses[REFUSED],
        "livez_ms": figures([ms for _, ms, _ in found["probes"]] or [0.0]),
        "livez_failed": sum(status != 200 for *_, status in found["probes"]),
        "client_cpu_share": round(found["cpu_share"], 3),
    }


def _closed(server: Server, files: Sequence[Path], seconds: float) -> float:
    """Returns how many photos a second a closed loop of clients gets."""
    words = ("--clients", str(CLIENTS), "--seconds", str(seconds), "--least", str(CLIENTS))
    run = _json([HERE / "load.py", server.url, *map(str, files), *words])
    return float(len(run["ms"]) / run["seconds"])


def _json(command: Sequence[str | Path]) -> Json:
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True)
    found: Json = json.loads(done.stdout)
    return found


def _print(result: Json) -> None:
    show(
        f"{result['model']}, {result['factor']:g} times its capacity for {result['seconds']:g} s",
        [
            "",
            "capacity img/s",
            "asked /s",
            "answered img/s",
            "of capacity",
            "p99 ms",
            "bound ms",
            "503",
            "503 p99 ms",
            "other",
            "/livez p99 ms",
        ],
        [_row(number, each) for number, each in enumerate(result["rounds"], 1)],
    )


def _row(number: int, each: Json) -> list[str]:
    return [
        f"round {number}",
        told(each["capacity"]),
        told(each["asked"]),
        told(each["goodput"]),
        told(each["goodput_ratio"], ".0%"),
        told(each["accepted_ms"]["p99"], ".0f"),
        told(each["queue_bound_ms"], ".0f"),
        told(each["refused_share"], ".0%"),
        told(each["refused_ms"]["p99"], ".0f"),
        str(each["other"]),
        told(each["livez_ms"]["p99"], ".1f"),
    ]


if __name__ == "__main__":
    sys.exit(main())
