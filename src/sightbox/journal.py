"""A journal of answers, so that a long evaluation goes on where it was stopped.

Its first line says what was evaluated, each further one what was said of one picture, as JSON. A
line counts when it is whole; half a line at the end, which a killed process leaves, is cut off.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sightbox.errors import RequestError

Entry = dict[str, Any]


class Journal:
    """Reads what was done before, then takes what is done now. A context manager.

    Args:
        path: The file; made where there is none.
        head: What is evaluated, JSON values; it must be what the file began with.

    Raises:
        RequestError: The file cannot be used, or belongs to another evaluation.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path = path
        try:
            self._file = path.open("a+b")
            self._cut_half_line()
            self._file.seek(0)
            first = self._file.readline()
            if not first:
                self.add(dict(head))
            elif json.loads(first) != head:
                self._file.close()
                raise RequestError(
                    f"The journal {path} belongs to another evaluation: {first.decode().strip()}",
                    "Name another file, or remove this one to begin anew.",
                )
        except OSError as error:
            raise RequestError(f"The journal {path} cannot be used: {error.strerror}.") from error
        except ValueError as error:
            self._file.close()
            raise RequestError(f"The file {path} is no journal.", "Name another file.") from error

    def done(self) -> Iterator[Entry]:
        """Yields the entries of before, in their order."""
        with self._path.open("rb") as lines:
            next(lines)
            for number, line in enumerate(lines, 2):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise RequestError(
                        f"Line {number} of the journal {self._path} is damaged.",
                        "Remove the file to begin anew.",
                    ) from error

    def add(self, entry: Entry) -> None:
        """Writes an entry; from then on it is there whatever happens to this process."""
        self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _cut_half_line(self) -> None:
        size = self._file.seek(0, 2)
        while size:
            start = max(0, size - 65_536)
            self._file.seek(start)
            found = self._file.read(size - start).rfind(b"\n")
            if found >= 0:
                self._file.truncate(start + found + 1)
                return
            size = start
        self._file.truncate(0)
