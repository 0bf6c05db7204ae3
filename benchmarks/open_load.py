"""The client that does not wait: it asks at a fixed rate, whether it gets answers or not.

That is what many independent clients do together. The closed loop of `load.py` slows down with the
server and cannot overload it. A connection that is free is used again, else another one is opened.
"""

import argparse
import asyncio
import json
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from load import Client

PROBE_SECONDS = 0.1
"""How often the server is asked for a sign of life meanwhile."""

Sample = tuple[float, float, int]
"""Seconds from the start until it was asked, ms until the answer, and the status; 0 for none."""


async def burst(
    url: str, photos: list[bytes], rate: float, seconds: float
) -> tuple[list[Sample], list[Sample]]:
    """Asks `rate` times a second, and waits for the last answers.

    Returns:
        What became of the photos, and of the probes.
    """
    start = perf_counter()
    samples: list[Sample] = []
    probes: list[Sample] = []
    free: list[Client] = []

    async def photo(body: bytes) -> None:
        client = free.pop() if free else Client(url)
        await _sample(client, body, start, samples)
        free.append(client)

    async def probe() -> None:
        parts = urlsplit(url)
        client = Client(f"{parts.scheme}://{parts.netloc}/livez", "GET")
        while perf_counter() - start < seconds:
            await _sample(client, b"", start, probes)
            await asyncio.sleep(PROBE_SECONDS)
        client.close()

    tasks = [asyncio.create_task(probe())]
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - perf_counter()))
        tasks.append(asyncio.create_task(photo(photos[number % len(photos)])))
    await asyncio.gather(*tasks)
    for client in free:
        client.close()
    return samples, probes


async def _sample(client: Client, body: bytes, start: float, samples: list[Sample]) -> None:
    asked = perf_counter()
    try:
        status, _ = await client.ask(body)
    except (OSError, EOFError, LookupError, ValueError):
        status = 0
        client.close()
    samples.append((asked - start, 1000 * (perf_counter() - asked), status))


def main() -> None:
    """Prints the run as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    photos = [path.read_bytes() for path in given.photos]
    begun = perf_counter()
    samples, probes = asyncio.run(burst(given.url, photos, given.rate, given.seconds))
    used = resource.getrusage(resource.RUSAGE_SELF)
    told: dict[str, Any] = {
        "samples": samples,
        "probes": probes,
        "cpu_share": (used.ru_utime + used.ru_stime) / (perf_counter() - begun),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
