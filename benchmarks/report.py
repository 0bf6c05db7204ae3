"""Writes the measured figures into docs/performance.md, and draws docs/request.svg.

Run ``python benchmarks/report.py``: it reads the files in ``benchmarks/results`` and renews what
stands between the markers of the page.
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from measuring import Json, told

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

STAGES = {
    "decode": ("decode", "#0072b2"),
    "preprocess": ("resize", "#56b4e9"),
    "queue": ("queue", "#cc79a7"),
    "infer": ("infer", "#e69f00"),
    "answer": ("answer", "#f0e442"),
    "http": ("HTTP", "#009e73"),
}
"""What a request goes through: name, and colour (Okabe and Ito 2008, for all kinds of sight)."""

TIPS = (
    ("`inference_mode`", "torch + inference_mode", "torch eager"),
    ("`channels_last`", "torch + channels_last", "torch + inference_mode"),
    ("TorchScript, `script`", "torch script", "torch + inference_mode"),
    ("TorchScript, `trace`", "torch trace", "torch + inference_mode"),
    ("ONNX Runtime, fp32", "onnxruntime fp32", "torch eager"),
    ("OpenVINO, fp32", "openvino fp32", "torch eager"),
    ("OpenVINO, bf16", "openvino bf16", "openvino fp32"),
    ("ONNX Runtime, int8", "onnxruntime int8", "onnxruntime fp32"),
    ("OpenVINO, int8", "openvino int8", "openvino fp32"),
)
"""A tip, the row that follows it, and the row that differs in nothing else."""

PIXEL_TIPS = (
    ("NEAREST for the resize", "resize with NEAREST", "resize into a new array"),
    ("A given array for the pixels", "resize into a given array", "resize into a new array"),
    ("A given array for the batch", "batch of 8 in a given array", "batch of 8 in a new array"),
)


FEWEST_ROUNDS = 3
IDLE = 0.5
"""Rounds and load average beyond which the page says that a run is no result."""


def main() -> None:
    """Renews page and picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    engines, service, threads = (
        json.loads((given.results / f"{name}.json").read_text("utf-8"))
        for name in ("engines", "service", "threads")
    )
    page = given.docs / "performance.md"
    page.write_text(renewed(page.read_text("utf-8"), engines, service, threads), "utf-8")
    (given.docs / "request.svg").write_text(picture(_ours(service)), "utf-8")


def renewed(page: str, engines: Json, service: Json, threads: Json) -> str:
    """Returns the page with every block of figures written anew.

    Raises:
        KeyError: The page has a block that is not known here.
    """
    blocks = {
        "machine": _machine(engines, service),
        "request": _request(_ours(service)),
        "tips": _tips(engines, _ours(service)),
        "engines": _engines(engines),
        "servers": _servers(service),
        "weight": _weight(service),
        "limit": _limit(_ours(service)),
        "threads": _cores(threads),
    }
    return BLOCK.sub(lambda match: match[1] + blocks[match[2]] + match[3], page)


def picture(servers: Sequence[Json]) -> str:
    """Returns an SVG with one bar for each Sightbox, of one request at one client, in ms."""
    width, left, row = 720, 12, 62
    totals = [sum(server["stages_ms"][stage] for stage in STAGES) for server in servers]
    scale = (width - 2 * left) / max(totals)
    parts = []
    for number, (server, total) in enumerate(zip(servers, totals, strict=True)):
        x, y = float(left), 44 + row * number
        parts.append(f'<text x="{left}" y="{y - 8}">{server["name"]}: {total:.1f} ms</text>')
        for stage, (name, colour) in STAGES.items():
            ms = server["stages_ms"][stage]
            bar = f'<rect x="{x:.1f}" y="{y}" width="{ms * scale:.1f}" height="26" fill="{colour}">'
            parts.append(f"{bar}<title>{name} {ms:.2f} ms</title></rect>")
            if ms * scale > 34:
                middle = x + ms * scale / 2
                parts.append(f'<text class="in" x="{middle:.1f}" y="{y + 18}">{ms:.1f}</text>')
            x += ms * scale
    y = 44 + row * len(servers)
    for number, (name, colour) in enumerate(STAGES.values()):
        x = left + 100 * number
        parts.append(f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{y}">{name}</text>')
    style = (
        "text{font:13px sans-serif;fill:#1f2328}.in{fill:#000;text-anchor:middle}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.in{fill:#000}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 12}" role="img">'
    title = "<title>The milliseconds of one request</title>"
    return "\n".join([head, title, f"<style>{style}</style>", *parts, "</svg>"]) + "\n"


def _ours(service: Json) -> list[Json]:
    return [server for server in service["servers"] if server["stages_ms"]]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine(engines: Json, service: Json) -> str:
    card = service["machine"]
    sets = ", ".join(card["instruction_sets"]) or "vector sets unknown"
    quota = told(card["cpu_quota"], "g") if card["cpu_quota"] else "none"
    packages = ", ".join(f"{name} {number}" for name, number in card["packages"].items())
    rounds = [result["rounds"] for result in (engines, service)]
    loads = [(result["machine"]["load_average"] or [0])[0] for result in (engines, service)]
    text = (
        f"{card['date'][:10]}: {card['cores']} cores of {card['processor']} ({sets}), CPU quota "
        f"{quota}, {card['system']}, Python {card['python']}, {packages}. Network: "
        f"{service['model']}. Rounds of the engines {rounds[0]}, of the servers {rounds[1]}, "
        f"{service['seconds']:g} s a load; load average before them {loads[0]:.2f} and "
        f"{loads[1]:.2f}.\n"
    )
    if min(rounds) < FEWEST_ROUNDS or max(loads) > IDLE:
        text += (
            "\n**The run was short, or the machine was busy with other work: these figures show "
            "that the benchmarks run, and are no result.**\n"
        )
    return text


def _request(ours: Sequence[Json]) -> str:
    rows = [
        [name, *(told(server["stages_ms"][stage], ".2f") for server in ours)]
        for stage, (name, _) in STAGES.items()
    ]
    for name, key in (("all, as the client sees it", "latency"), ("hand-over", "handover")):
        rows.append([name, *(told(server["stages_ms"][key], ".2f") for server in ours)])
    return _table(["ms, median", *(server["name"] for server in ours)], rows)


def _tips(engines: Json, ours: Sequence[Json]) -> str:
    found = {(r["name"], r["threads"], r["batch"]): r for r in engines["rows"]}
    most, batches = _threads(engines)[-1], (_batches(engines)[0], _batches(engines)[-1])

    def gain(row: str, base: str, batch: int) -> str:
        both = [found.get((name, most, batch)) for name in (row, base)]
        if both[0] is None or both[1] is None:
            return "-"
        return f"{both[0]['images_per_second'] / both[1]['images_per_second']:.2f}"

    rows = [
        [tip, f"{row} / {base}", *(gain(row, base, batch) for batch in batches)]
        for tip, row, base in TIPS
    ]
    one = {(r["name"], r["batch"]): r for r in engines["rows"] if r["threads"] == 1}
    for name in dict.fromkeys(r["name"] for r in engines["rows"]):
        if name in {"torch eager", "onnxruntime fp32", "openvino int8"} and most > 1:
            gains = [
                found[name, most, b]["images_per_second"] / one[name, b]["images_per_second"]
                for b in batches
            ]
            rows.append([f"{most} threads", f"{name}, {most} / 1", *(f"{g:.2f}" for g in gains)])
    table = _table(["tip", "img/s of", *(f"batch {batch}" for batch in batches)], rows)
    stages = ours[0]["stages_ms"]
    pixels = [[tip, f"{stages[b]:.2f}", f"{stages[r]:.2f}"] for tip, r, b in PIXEL_TIPS]
    return f"{table}\n{_table(['tip', 'ms without', 'ms with'], pixels)}"


def _threads(engines: Json) -> list[int]:
    return sorted({row["threads"] for row in engines["rows"]})


def _batches(engines: Json) -> list[int]:
    return sorted({row["batch"] for row in engines["rows"]})


def _engines(engines: Json) -> str:
    found = {(r["name"], r["threads"], r["batch"]): r for r in engines["rows"]}
    tables = []
    for threads in _threads(engines):
        rows = []
        for name in dict.fromkeys(row["name"] for row in engines["rows"]):
            cells = [found[name, threads, batch] for batch in _batches(engines)]
            rates = [f"{c['images_per_second']:.1f} ({told(c['ratio'], '.2f')})" for c in cells]
            rows.append([name, *rates, f"{engines['same_first_class'][name]:.0%}"])
        heads = [f"batch {batch}" for batch in _batches(engines)]
        title = f"img/s, {threads} {'thread' if threads == 1 else 'threads'}"
        tables.append(_table([title, *heads, "same class"], rows))
    return "\n".join(tables) + _absent(engines["absent"])


def _absent(absent: Json) -> str:
    names = ", ".join(absent)
    return f"\nNot measured here: {names}.\n" if absent else ""


def _servers(service: Json) -> str:
    head = ["", "img/s", "range", "p50 / p95 / p99 ms", "p99/p50", "× torch", "× rival"]
    tables = []
    for position, load in enumerate(service["servers"][0]["loads"]):
        rows = []
        for server in service["servers"]:
            its = server["loads"][position]
            ms, (low, high) = its["latency_ms"], its["range"]
            rows.append(
                [
                    server["name"],
                    told(its["images_per_second"]),
                    f"{low:.1f}-{high:.1f}",
                    f"{ms['median']:.0f} / {ms['p95']:.0f} / {ms['p99']:.0f}",
                    told(its["p99_to_p50"]),
                    told(its["to_torch"], ".2f"),
                    told(its["to_best_rival"], ".2f"),
                    told(its["of_limit"], ".0%"),
                    str(its["errors"]),
                ]
            )
        clients = f"{load['clients']} {'client' if load['clients'] == 1 else 'clients'}"
        tables.append(_table([clients, *head[1:], "of limit", "errors"], rows))
    return "\n".join(tables) + _absent(service["absent"])


def _weight(service: Json) -> str:
    rows = []
    for server in service["servers"]:
        memory, growth = server["memory_mib"], server["growth"]
        grown = growth and growth["after"]["pss"] - growth["before"]["pss"]
        rows.append(
            [
                server["name"],
                told(server["first_answer_s"]["median"], ".2f"),
                told(memory["rss"], ".0f"),
                told(memory["pss"], ".0f"),
                told(memory["processes"], ".0f"),
                told(grown, "+.1f", f" after {growth['images']:,}" if growth else ""),
                told(server["agreement"], ".1%"),
            ]
        )
    head = ["", "first answer, s", "RSS, MiB", "PSS, MiB", "processes", "growth, MiB", "same class"]
    return _table(head, rows)


def _limit(ours: Sequence[Json]) -> str:
    keys = ("decode_ms", "resize_ms", "infer_ms", "formula", "measured")
    rows = []
    for server in ours:
        limit, best = server["limit"], max(load["of_limit"] for load in server["loads"])
        rows.append([server["name"], *(told(limit[key]) for key in keys), f"{best:.0%}"])
    head = ["", "decode, ms", "resize, ms", "infer, ms", "formula, img/s", "measured, img/s"]
    return _table([*head, "best served"], rows)


def _cores(threads: Json) -> str:
    everything = threads["ms"]["all"]
    rows = [
        [name, told(ms, ".2f"), told(ms / everything, ".0%")]
        for name, ms in (*threads["ms"].items(), ("the machine's limit", threads["limit_ms"]))
    ]
    asked = f"{threads['settings']}, {threads['clients']} clients"
    return _table([asked, "ms of a core, a photo", "part"], rows)


if __name__ == "__main__":
    main()
