"""The pictures of a multipart form (RFC 7578), read in memory: nothing touches the disk."""

from collections.abc import Sequence
from io import BytesIO
from typing import IO

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from sightbox.errors import RequestError

BYTES_PER_KB = 1000

READ_BYTES = 65_536
"""How many bytes the decoder gets at a time; it searches them anew for each part."""

NAMES = ("image",)
"""What the native API calls its parts with pictures."""


class TooManyPartsError(RequestError):
    """A form has more parts than the server accepts."""

    code = "too_many_parts"
    title = "Too many pictures at once"
    status = 413


class TooMuchTextError(RequestError):
    """A form carries more beside its files than the server accepts."""

    code = "too_much_text"
    title = "Too much text beside the pictures"
    status = 413


def read_pictures(
    stream: IO[bytes],
    boundary: str,
    max_parts: int,
    max_text_kb: float,
    names: Sequence[str] = NAMES,
) -> list[bytes]:
    """Returns the content of the parts with pictures, in their order.

    Files of other names and small texts are passed over.

    Args:
        stream: The request's body.
        boundary: What separates the parts, from the Content-Type header.
        max_parts: Most parts of all names.
        max_text_kb: Most of what is no file, kB.
        names: What the parts with pictures are called; the first one is told to who sends none.

    Raises:
        TooManyPartsError: There are more parts.
        TooMuchTextError: What is no file is larger.
        RequestError: The form is malformed, cut short, or without a picture.
    """
    form = _Form(boundary, max_parts, max_text_kb, names)
    while data := stream.read(READ_BYTES):
        form.take(data)
    form.take(None)
    if not form.pictures:
        raise RequestError(f"The form has no part named {names[0]}.", _send_a_file(names))
    return [picture.getvalue() for picture in form.pictures]


class _Form:
    """What has been read of a form so far."""

    def __init__(
        self, boundary: str, max_parts: int, max_text_kb: float, names: Sequence[str]
    ) -> None:
        self._hint = _send_a_file(names)
        if not boundary:
            raise RequestError("The form's Content-Type names no boundary.", self._hint)
        self.pictures: list[BytesIO] = []
        self._decoder = MultipartDecoder(boundary.encode(), int(max_text_kb * BYTES_PER_KB))
        self._max_parts = max_parts
        self._names = names
        self._max_text_kb = max_text_kb
        self._parts = 0
        self._text_bytes = 0
        self._part: File | Field | None = None

    def take(self, data: bytes | None) -> None:
        """Reads on; None is the end."""
        try:
            self._decoder.receive_data(data)
            while not isinstance(event := self._decoder.next_event(), NeedData | Epilogue):
                if isinstance(event, File | Field):
                    self._begin(event)
                elif isinstance(event, Data):
                    self._append(event.data)
        except RequestEntityTooLarge:
            # The decoder holds what it has not understood yet: a part's head without an end.
            raise self._too_much_text() from None
        except ValueError as error:
            wrong = "cut short: its last boundary is missing" if data is None else "malformed"
            raise RequestError(f"The form is {wrong}.", self._hint) from error

    def _begin(self, part: File | Field) -> None:
        self._part = part
        self._parts += 1
        if self._parts > self._max_parts:
            raise TooManyPartsError(
                f"The form has more than {self._max_parts} parts.",
                "Send fewer pictures at once, or raise the setting max_parts.",
            )
        if part.name not in self._names:
            return
        if isinstance(part, Field):
            raise RequestError(f"A part named {part.name} is a text and no file.", self._hint)
        self.pictures.append(BytesIO())

    def _append(self, data: bytes) -> None:
        if isinstance(self._part, Field):
            self._text_bytes += len(data)
            if self._text_bytes > self._max_text_kb * BYTES_PER_KB:
                raise self._too_much_text()
        elif self._part is not None and self._part.name in self._names:
            self.pictures[-1].write(data)

    def _too_much_text(self) -> TooMuchTextError:
        return TooMuchTextError(
            f"The form has more than {self._max_text_kb:g} kB beside its files.",
            "Parameters stand in the address, such as /v1/classify?top_k=3. The limit is the "
            "setting max_text_kb.",
        )


def _send_a_file(names: Sequence[str]) -> str:
    return f"Send: -F {names[0]}=@photo.jpg"
