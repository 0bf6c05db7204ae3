"""The log of a server: one line for each event, as text or as JSON, without a word of a client's.

A line carries the id of the request that it belongs to. Whatever is not printable is escaped, so
that nobody can forge a line. The libraries below stay silent but for warnings: Pillow's debugging
tells what is in a picture's metadata.
"""

import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sightbox.tracing import current_trace

FORMATS = ("text", "json")

ACCESS = "sightbox.access"
"""The logger with one line for each request."""

FIELDS = "fields"
"""The attribute of a record that holds its fields: name -> value, fit for JSON."""

_EDGE = ("sightbox.web", "waitress")
"""Loggers of what touches requests: an exception there may quote the client, so that only its type
and its place are told."""

_PATH = re.compile(r"(?<= serving ).*", re.DOTALL)
"""What waitress adds to "Exception while serving": the path, as the client sent it."""


class JsonFormatter(logging.Formatter):
    """A JSON object on a line of ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        trace = list(_trace(record))
        entry = _entry(record) | ({"trace": trace} if trace else {})
        return json.dumps(entry, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """A line of words and ``name=value``; a trace on indented lines below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        entry = _entry(record)
        head = [entry.pop(name) for name in ("time", "level", "logger", "message")]
        words = [*head, *(f"{name}={value}" for name, value in _flat(entry))]
        lines = [" ".join(map(_printable, words))]
        return "\n    ".join([*lines, *map(_printable, _trace(record))])


def configure(form: str, level: str) -> None:
    """Sends the log to standard error; for the process that serves, never for a library's user.

    Args:
        form: One of `FORMATS`.
        level: The least level of Sightbox' own events: debug, info, warning or error.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(least, logging.WARNING))
    logging.getLogger("sightbox").setLevel(least)
    # Waitress warns of each request that waits; waiting is what a queue is for.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


def _entry(record: logging.LogRecord) -> dict[str, Any]:
    message = record.getMessage()
    if _is_edge(record):
        message = _PATH.sub("a request", message)
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    trace = current_trace()
    return {
        # RFC 3339, section 5.6.
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": message,
        **({} if trace is None else {"request_id": trace.request_id}),
        **getattr(record, FIELDS, {}),
    }


def _trace(record: logging.LogRecord) -> Iterator[str]:
    """Yields the lines of an exception's trace, the cause first."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return
    if not _is_edge(record):
        yield from "".join(traceback.format_exception(error)).splitlines()
        return
    for one in _chain(error):
        yield from "".join(traceback.format_tb(one.__traceback__)).splitlines()
        yield f"{type(one).__name__} (its words may be a client's and are left out)"


def _chain(error: BaseException) -> list[BaseException]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*(_chain(before) if before else []), error]


def _is_edge(record: logging.LogRecord) -> bool:
    return any(record.name == name or record.name.startswith(f"{name}.") for name in _EDGE)


def _flat(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields what is nested as names and values of one level; a list as its items."""
    for name, value in entry.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield name, ",".join(f"{key}:{inner}" for key, inner in item.items())
            else:
                yield name, str(item)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
