"""The client: a number of connections, each of which asks again as soon as it has its answer.

It is a process of its own with one thread, so that it takes little from the servers on the same
cores, and it tells how much it took. Answers are parsed after the clock has stopped.
"""

import argparse
import asyncio
import json
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """What one request gave: which photo, ms from its first byte sent, status and body."""

    photo: int
    ms: float
    status: int
    body: bytes


class Client:
    """One connection that stays open as long as the server keeps it (RFC 9112, section 9.3)."""

    def __init__(self, url: str, method: str = "POST") -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._head = (
            f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: "
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        """Returns the status and the body of an answer.

        Raises:
            ValueError: The answer has no length; no server here sends such ones.
            OSError: The connection failed.
            EOFError: The connection ended within the answer.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status, *_ = head[0].split(" ")
        fields = {
            name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head)
        }
        content = await reader.readexactly(int(fields["content-length"]))
        if version == "HTTP/1.0" or fields.get("connection", "").lower() == "close":
            self.close()
        return int(status), content

    def close(self) -> None:
        """Closes the connection; the next request opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def load(
    url: str, photos: list[bytes], clients: int, seconds: float, least: int
) -> tuple[list[Answer], list[str], float]:
    """Asks until the time is over and there are `least` answers.

    Returns:
        The answers, the errors, and the seconds until the last answer.
    """
    answers: list[Answer] = []
    errors: list[str] = []
    start = perf_counter()
    asked = 0

    async def run() -> None:
        nonlocal asked
        client = Client(url)
        while asked < least or perf_counter() - start < seconds:
            photo, asked = asked % len(photos), asked + 1
            sent = perf_counter()
            try:
                status, body = await client.ask(photos[photo])
            except (OSError, EOFError, LookupError, ValueError) as error:
                errors.append(repr(error))
                client.close()
                await asyncio.sleep(0.05)
                continue
            answers.append(Answer(photo, 1000 * (perf_counter() - sent), status, body))
        client.close()

    await asyncio.gather(*(run() for _ in range(clients)))
    return answers, errors, perf_counter() - start


def told(answers: list[Answer], errors: list[str], seconds: float, cpu: float) -> dict[str, Any]:
    """Returns the run as JSON values; an answer without a first class is an error."""
    classes = []
    for answer in answers:
        try:
            predictions = json.loads(answer.body)["predictions"]
            classes.append((answer.photo, predictions[0]["index"]))
        except (LookupError, ValueError, TypeError):
            errors.append(f"{answer.status}: {answer.body[:200]!r}")
    return {
        "seconds": seconds,
        "cpu_share": cpu / seconds,
        "ms": [answer.ms for answer in answers if answer.status == 200],
        "classes": classes,
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
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
    photos = [path.read_bytes() for path in given.photos]
    before = resource.getrusage(resource.RUSAGE_SELF)
    run = asyncio.run(load(given.url, photos, given.clients, given.seconds, given.least))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump(told(*run, cpu), sys.stdout)


if __name__ == "__main__":
    main()
