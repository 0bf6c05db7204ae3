"""The open loop of ``sightbox bench --serve``, as a process of its own that prints JSON.

Beside it the server is asked for signs of life.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

from load import TIMEOUT, make_asker

from sightbox.loadtest.connection import Target
from sightbox.loadtest.loops import Asker, fixed_times, open_loop
from sightbox.loadtest.record import Record

PROBE_SECONDS = 0.1
"""How often the server is asked for a sign of life meanwhile."""

CONNECTIONS = 100_000
"""As many as it takes: under overload each request waits on one of its own."""

Sample = tuple[float, float, int]
"""Seconds from the start until it was due, ms from then to the answer, the status (0 for none)."""


async def burst(asker: Asker, probe: Asker, rate: float, seconds: float) -> None:
    """Asks for photos at a rate, and for signs of life meanwhile."""
    probes = open_loop(probe, fixed_times(1 / PROBE_SECONDS, seconds), CONNECTIONS)
    await asyncio.gather(open_loop(asker, fixed_times(rate, seconds), CONNECTIONS), probes)


def samples(record: Record, start: float) -> list[Sample]:
    """Returns what became of the requests."""
    columns = zip(record.due, record.ended, record.status, strict=True)
    return [(due - start, 1000 * (ended - due), status) for due, ended, status in columns]


def make_probe(url: str) -> Asker:
    """Returns what asks the server whether it lives."""
    target = Target.of(url)
    return Asker(target, [target.request("GET", "/livez", {})], lambda _: "", TIMEOUT)


def main() -> None:
    """Prints the run as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    asker, probe = make_asker(given.url, given.photos), make_probe(given.url)
    start, cpu = perf_counter(), process_time()
    asyncio.run(burst(asker, probe, given.rate, given.seconds))
    told = {
        "samples": samples(asker.record, start),
        "probes": samples(probe.record, start),
        "cpu_share": (process_time() - cpu) / (perf_counter() - start),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
