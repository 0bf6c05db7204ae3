"""How soon the first page paints in a browser on this machine.

    .venv/bin/python benchmarks/page.py --rounds 20

The server is a process of its own, as `sightbox serve` makes it. Each round opens the page twice in
a fresh profile of Chromium: once with nothing kept, once with what the first time left behind.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser.chromium import launch

SERVE = [sys.executable, "-m", "sightbox", "serve", "--port", "0", "--backend", "dummy"]

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
"""When the first text or picture was there, in ms from the start of the navigation."""

VISITS = ("first visit", "visit again")


@contextmanager
def served() -> Iterator[str]:
    """Runs a server, and gives its address."""
    quiet = os.environ | {"SIGHTBOX_ACCESS_LOG": "false"}
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True, env=quiet) as process:
        found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
        try:
            if found is None:
                raise SystemExit("The server did not start; what it wrote says why.")
            yield found.group()
        finally:
            process.terminate()


def visit(page: Page, url: str) -> float:
    """Opens the page; returns when it had painted, in ms."""
    page.goto(url)
    page.wait_for_selector("html[data-ready]", state="attached")
    painted: float = page.wait_for_function(PAINT).json_value()
    return painted


def visits(browser: Browser, url: str) -> list[float]:
    """Opens the page once for each of `VISITS`, in a fresh profile."""
    with browser.new_context() as context:
        page = context.new_page()
        return [visit(page, url) for _ in VISITS]


def main() -> None:
    """Prints a line for each kind of visit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with served() as url, sync_playwright() as playwright, launch(playwright) as browser:
        visits(browser, url)
        measured = [visits(browser, url) for _ in range(rounds)]
    for name, paints in zip(VISITS, zip(*measured, strict=True), strict=True):
        print(
            f"{name}: first paint {statistics.median(paints):.0f} ms, median of {rounds}"
            f" ({min(paints):.0f} to {max(paints):.0f} ms)"
        )


if __name__ == "__main__":
    main()
