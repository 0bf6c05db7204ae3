"""The closed loop of ``sightbox bench --serve``, as a process of its own that prints JSON.

It has one thread, so that it takes little from the servers on the same cores, and it tells how much
it took.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from sightbox.loadtest.connection import Target
from sightbox.loadtest.dialects import DIALECTS
from sightbox.loadtest.loops import Asker, closed_loop
from sightbox.loadtest.record import OK, Record

TIMEOUT = 60.0
"""Seconds after which a request counts as failed."""


def make_asker(url: str, photos: Sequence[Path]) -> Asker:
    """Returns what posts photos to a URL whose answers are those of the native API."""
    target, dialect = Target.of(url), DIALECTS["native"]
    requests = []
    for photo in photos:
        headers, body = dialect.write(photo.read_bytes(), None)
        requests.append(target.request("POST", target.path, headers, body))
    return Asker(target, requests, dialect.read, TIMEOUT)


def told(record: Record, seconds: float, cpu: float) -> dict[str, Any]:
    """Returns the run as JSON values; an answer without a first class is an error."""
    classes = [
        (photo, int(index)) for photo, named in record.answers.items() for index in named.elements()
    ]
    refused = {status: count for status, count in record.statuses().items() if status != OK}
    reasons = [*record.errors, *(f"status {status}" for status in refused)]
    if record.unreadable:
        reasons.append(repr(record.excerpt))
    return {
        "seconds": seconds,
        "cpu_share": cpu / seconds,
        "ms": record.latencies().tolist(),
        "classes": classes,
        "errors": record.errors.total() + sum(refused.values()) + record.unreadable,
        "first_error": reasons[0] if reasons else None,
    }


def main() -> None:
    """Prints the run as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--least", type=int, required=True)
    given = parser.parse_args()
    asker = make_asker(given.url, given.photos)
    start, cpu = perf_counter(), process_time()
    asyncio.run(closed_loop(asker, given.clients, given.seconds, given.least))
    json.dump(told(asker.record, perf_counter() - start, process_time() - cpu), sys.stdout)


if __name__ == "__main__":
    main()
