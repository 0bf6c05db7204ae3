"""The last report of a home: what was measured most recently, in whichever way, to be shown."""

import logging
from pathlib import Path

from sightbox.atomicfile import write_atomically
from sightbox.benchmark.report import Json, read_report, to_text
from sightbox.errors import RequestError

FILE = "benchmark.json"
"""Name of the file in the home."""

logger = logging.getLogger(__name__)


def keep_last(home: Path, report: Json) -> str | None:
    """Keeps a report in the place of the one before.

    Args:
        home: Folder of the models.
        report: A report of `sightbox.benchmark.report.make_report`.

    Returns:
        Why it could not be kept, as in a home that is read-only; None where it was.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(home / FILE, to_text(report).encode())
    except OSError as error:
        return f"{home / FILE} cannot be written: {error.strerror}."
    return None


def last_report(home: Path) -> Json | None:
    """Returns the last report; None where there is none, or none that this version can read."""
    path = home / FILE
    if not path.exists():
        return None
    try:
        return read_report(path)
    except RequestError as error:
        logger.warning("%s", error)
        return None
