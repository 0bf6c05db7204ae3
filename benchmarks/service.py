"""Servers side by side over HTTP: throughput, latency, start-up, memory, and the machine's limit.

Run ``python benchmarks/service.py --out benchmarks/results/service.json`` (about seven minutes).
One server is alive at a time: it is started for its turn and stopped after it. An idle one would
still hold memory and caches, and some of them spin; and so each start is measured too. All of
them take their turns round after round, with the machine's limit as one of them, so that the noise
of the machine hits all alike. Exit code 1: a server that runs the exact network gave another class
than the reference.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
from material import arguments, photos, prepared
from measuring import Json, console, figures, keep, machine, missing, ratio, show, told
from rivals.plain import GRAPH as PLAIN
from servers import MOSEC, TORCH, WAITRESS, Contestant, Server, rivals, running, sightbox

from sightbox.classifier import Classifier
from sightbox.model import GRAPH, Model
from sightbox.store import Store
from sightbox.tuning import tune

HERE = Path(__file__).parent
EXACT = "backend=onnxruntime variant=fp32"

STRONG = (WAITRESS, MOSEC)
"""The rivals whose best is the second base of ratios."""

WARM = 16
"""Photos that each server answers before its rounds."""

GROWTH_CLIENTS = 16


def main() -> int:
    """Measures, prints the tables, writes the JSON, and returns the exit code."""
    given = _arguments()
    card = machine()
    with (
        photos(given.photos, given.count) as files,
        prepared(given.model, given.calibration) as (home, model),
    ):
        folder = _folder(model)
        _plain(folder)
        chosen = given.sightbox or [EXACT, _fastest(home, model)]
        everyone = [sightbox(each, home, model) for each in chosen]
        everyone += [each for each in rivals(folder) if not given.only or each.name in given.only]
        absent = {each.name: missing(each.needs) for each in everyone}
        reference = _reference(model, home, files)
        runs = _Runs(given, home, model, files)
        for number in range(given.rounds):
            for each in everyone:
                if not absent[each.name]:
                    console.print(f"Round {number + 1} of {given.rounds}: {each.name}")
                    runs.turn(each, last=number == given.rounds - 1)
    present = [each for each in everyone if not absent[each.name]]
    result = {
        "machine": card,
        "model": model.card.name,
        "photos": len(files),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "absent": {name: modules for name, modules in absent.items() if modules},
        "servers": _with_ratios([runs.told(each, reference) for each in present]),
    }
    _print(result)
    keep(result, given.out)
    wrong = [s["name"] for s in result["servers"] if s["exact"] and s["agreement"] < 1]
    if wrong:
        console.print(f"Other classes than the reference: {', '.join(wrong)}", style="bold red")
    return 1 if wrong else 0


def _arguments() -> Any:  # noqa: ANN401 - argparse's namespace
    parser = arguments("Servers side by side over HTTP.")
    parser.add_argument(
        "--sightbox",
        action="append",
        metavar="SETTINGS",
        help="settings of one Sightbox, such as 'backend=openvino variant=int8 threads=2'; "
        "may be given again",
    )
    parser.add_argument("--only", action="append", help="name of a rival; may be given again")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load, at least")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=32, help="photos that are sent in turn")
    parser.add_argument("--images-for-growth", type=int, default=0, help="after the last round")
    return parser.parse_args()


def _fastest(home: Path, model: Model) -> str:
    """Returns the settings that `sightbox tune` finds to answer most photos a second.

    How far they agree does not count here: with random weights that says nothing, and with a
    prepared model the table tells it.
    """
    console.print("Measuring which way to run the network is the fastest here")
    rows = [row for row in tune(Store(home), model).rows if row.problem is None]
    fastest = asdict(max(rows, key=lambda row: row.images_per_second).plan)
    return " ".join(f"{name}={value}" for name, value in fastest.items())


def _folder(model: Model) -> Path:
    if model.folder is None:
        raise RuntimeError("The model is in memory alone.")
    return model.folder


def _plain(folder: Path) -> None:
    """Writes the network without our first nodes: floats in, as exporters write it."""
    onnx.utils.extract_model(
        str(folder / GRAPH), str(folder / PLAIN), ["normalized"], ["logits"], check_model=False
    )


def _reference(model: Model, home: Path, files: Sequence[Path]) -> list[int]:
    """Returns the exact network's first class of each photo, without any server."""
    with Classifier(model.card.name, home=home) as classifier:
        return [classifier.classify(file).top.index for file in files]


class _Runs:
    """Runs servers and keeps what they did."""

    def __init__(self, given: Any, home: Path, model: Model, files: Sequence[Path]) -> None:  # noqa: ANN401 - argparse's namespace
        self._given, self._home, self._model, self._files = given, home, model, files
        self._loads: dict[tuple[str, int], list[Json]] = {}
        self._starts: dict[str, list[float]] = {}
        self._memory: dict[str, list[Json]] = {}
        self._limits: dict[str, list[Json]] = {}
        self._stages: dict[str, list[Json]] = {}
        self._growth: dict[str, Json] = {}

    def turn(self, each: Contestant, *, last: bool) -> None:
        """Starts a server, loads it, looks at its memory, and stops it."""
        name, given = each.name, self._given
        if each.settings is not None:
            limit = self._script("limit.py", each.settings, "--seconds", str(given.seconds / 2))
            self._limits.setdefault(name, []).append(limit)
        with running(each, self._files[0].read_bytes()) as server:
            self._starts.setdefault(name, []).append(server.first_answer)
            self._load(server, 4, seconds=0, least=WARM)
            for clients in given.clients:
                found = self._load(server, clients, given.seconds, least=2 * clients)
                self._loads.setdefault((name, clients), []).append(found)
            self._memory.setdefault(name, []).append(server.memory())
            if each.settings is not None:
                stages = self._script(
                    "stages.py", each.settings, "--count", str(given.count), first=[server.url]
                )
                self._stages.setdefault(name, []).append(stages)
                if last and given.images_for_growth:
                    self._growth[name] = self._grow(server, given.images_for_growth)

    def told(self, each: Contestant, reference: Sequence[int]) -> Json:
        """Returns all of a server's figures."""
        name = each.name
        loads = {c: self._loads[name, c] for c in self._given.clients}
        classes = [pair for runs in loads.values() for run in runs for pair in run["classes"]]
        return {
            "name": name,
            "exact": each.exact,
            "agreement": sum(reference[p] == c for p, c in classes) / max(1, len(classes)),
            "first_answer_s": figures(self._starts[name]),
            "memory_mib": _medians(self._memory[name]),
            "growth": self._growth.get(name),
            "limit": _medians(self._limits[name]) if name in self._limits else None,
            "stages_ms": _medians(self._stages[name]) if name in self._stages else None,
            "loads": [_load_told(clients, runs) for clients, runs in loads.items()],
        }

    def _grow(self, server: Server, images: int) -> Json:
        before = server.memory()
        self._load(server, GROWTH_CLIENTS, seconds=0, least=images)
        return {"images": images, "before": before, "after": server.memory()}

    def _load(self, server: Server, clients: int, seconds: float, least: int) -> Json:
        options = {"--clients": clients, "--seconds": seconds, "--least": least}
        words = [str(word) for pair in options.items() for word in pair]
        return _json([HERE / "load.py", server.url, *map(str, self._files), *words])

    def _script(
        self, script: str, settings: Mapping[str, str], *words: str, first: Sequence[str] = ()
    ) -> Json:
        return _json(
            [
                HERE / script,
                *first,
                *map(str, self._files),
                *("--home", str(self._home), "--model", self._model.card.name),
                *("--backend", settings.get("backend", "onnxruntime")),
                *("--variant", settings.get("variant", "fp32")),
                *words,
            ]
        )


def _json(command: Sequence[str | Path]) -> Json:
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True)
    found: Json = json.loads(done.stdout)
    return found


def _medians(found: Sequence[Json]) -> Json:
    return {name: round(statistics.median(f[name] for f in found), 4) for name in found[0]}


def _load_told(clients: int, runs: Sequence[Json]) -> Json:
    rates = [len(run["ms"]) / run["seconds"] for run in runs]
    latencies = figures([ms for run in runs for ms in run["ms"]] or [0.0])
    return {
        "clients": clients,
        "images_per_second": round(statistics.median(rates), 2),
        "range": [round(min(rates), 2), round(max(rates), 2)],
        "latency_ms": latencies,
        "p99_to_p50": ratio(latencies["p99"], latencies["median"]),
        "errors": sum(run["errors"] for run in runs),
        "first_error": next((run["first_error"] for run in runs if run["errors"]), None),
        "client_cpu_share": round(max(run["cpu_share"] for run in runs), 3),
    }


def _with_ratios(servers: list[Json]) -> list[Json]:
    """Adds to each load how many times as fast it is as the bases, and its part of the limit."""
    rates = {
        (server["name"], load["clients"]): load["images_per_second"]
        for server in servers
        for load in server["loads"]
    }
    for server in servers:
        for load in server["loads"]:
            clients, rate = load["clients"], load["images_per_second"]
            strong = max((rates.get((name, clients), 0) for name in STRONG), default=0)
            limit = server["limit"] and max(server["limit"]["formula"], server["limit"]["measured"])
            load["to_torch"] = ratio(rate, rates.get((TORCH, clients)))
            load["to_best_rival"] = ratio(rate, strong)
            load["of_limit"] = ratio(rate, limit)
    return servers


def _print(result: Json) -> None:
    for position, load in enumerate(result["servers"][0]["loads"]):
        show(
            f"{result['model']}, {load['clients']} clients",
            ["", "img/s", "p50 / p95 / p99 ms", "p99/p50", "x torch", "x rival", "of limit", "err"],
            [_load_row(server, server["loads"][position]) for server in result["servers"]],
        )
    show(
        "Start and memory",
        ["", "first answer s", "RSS MiB", "PSS MiB", "processes", "same first class"],
        [_server_row(server) for server in result["servers"]],
    )
    ours = [server for server in result["servers"] if server["limit"]]
    show(
        "Limit of the machine",
        ["", "formula img/s", "measured img/s", "hand-over ms", "HTTP ms"],
        [
            [
                server["name"],
                told(server["limit"]["formula"]),
                told(server["limit"]["measured"]),
                told(server["stages_ms"]["handover"], ".2f"),
                told(server["stages_ms"]["http"], ".2f"),
            ]
            for server in ours
        ],
    )
    for name, modules in result["absent"].items():
        console.print(f"{name} is absent: {', '.join(modules)} not installed")


def _load_row(server: Json, load: Json) -> list[str]:
    ms = load["latency_ms"]
    return [
        server["name"],
        told(load["images_per_second"]),
        f"{ms['median']:.1f} / {ms['p95']:.1f} / {ms['p99']:.1f}",
        told(load["p99_to_p50"]),
        told(load["to_torch"], ".2f"),
        told(load["to_best_rival"], ".2f"),
        told(load["of_limit"], ".0%"),
        str(load["errors"]),
    ]


def _server_row(server: Json) -> list[str]:
    memory = server["memory_mib"]
    return [
        server["name"],
        told(server["first_answer_s"]["median"]),
        told(memory["rss"], ".0f"),
        told(memory["pss"], ".0f"),
        told(memory["processes"], ".0f"),
        told(server["agreement"], ".1%"),
    ]


if __name__ == "__main__":
    sys.exit(main())
