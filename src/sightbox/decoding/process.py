"""One decoder process, as its owner sees it."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace

from sightbox.decoding.budget import Permit
from sightbox.decoding.frames import OUT_OF_MEMORY, Job, Json, receive, result_from_json, send
from sightbox.errors import (
    DecodeMemoryError,
    DecoderCrashError,
    DecoderNotAvailableError,
    DecodeTimeError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    ModelError,
    RequestError,
    SightboxError,
)
from sightbox.pictures import PreparedPicture

START_SECONDS = 60.0
"""How long a process may take to start; usually it takes a quarter of a second."""

_KEPT_VARIABLES = ("PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
"""What Python needs to start. The others may hold secrets, such as the server's token."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy's libraries would start a thread for each core, none of which decoding uses."""

_ERRORS = {
    kind.code: kind
    for kind in (ImageError, ImageFormatError, ImageTooLargeError, DecodeMemoryError, ModelError)
}
"""What a decoder process may say of a picture."""

_SAVE_AGAIN = "Open it in an image program and save it again as JPEG or PNG."


@dataclass(frozen=True)
class ProcessLimits:
    """What decoding one picture may take.

    Attributes:
        memory_mb: Memory besides the process's own, in MB; Linux alone enforces it. The worst
            pictures take 24 bytes a pixel.
        seconds: Time, in seconds.

    Raises:
        RequestError: A number is not above 0.
    """

    memory_mb: float = 1536.0
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if not self.memory_mb > 0 or not self.seconds > 0:
            raise RequestError(f"No picture decodes in {self.memory_mb} MB and {self.seconds} s.")


DEFAULT_PROCESS_LIMITS = ProcessLimits()


class _Pipe:
    """A socket of which reading and writing end at a deadline, by `time.monotonic`."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.deadline = 0.0

    def readinto(self, buffer: memoryview, /) -> int:
        self._set_timeout()
        return self.connection.recv_into(buffer)

    def write(self, data: memoryview, /) -> int:
        self._set_timeout()
        return self.connection.send(data)

    def _set_timeout(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)


class DecoderProcess:
    """A process that decodes one picture after the other. It is used by one thread at a time.

    Args:
        limits: What a picture may take.

    Raises:
        DecoderNotAvailableError: It cannot be started.
    """

    def __init__(self, limits: ProcessLimits) -> None:
        self._limits = limits
        self._ready = False
        self.idle = True
        ours, theirs = socket.socketpair()
        self._pipe = _Pipe(ours)
        with theirs:
            try:
                self._process = _start(theirs, limits)
            except OSError as error:
                ours.close()
                raise DecoderNotAvailableError(
                    f"A decoder process cannot be started: {error.strerror}.", _IN_THREADS
                ) from error

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def await_start(self) -> None:
        """Waits until the process takes pictures.

        Raises:
            DecoderNotAvailableError: It has ended.
        """
        alive = self._process.poll() is None
        if self._ready and alive:
            return
        self.idle = False
        self._pipe.deadline = time.monotonic() + START_SECONDS
        try:
            receive(self._pipe, 0)
        except (EOFError, OSError, ValueError) as error:
            self.kill()
            raise DecoderNotAvailableError(
                f"A decoder process did not start: {_ending(self._process.returncode)}.",
                _IN_THREADS,
            ) from error
        self._ready = self.idle = True

    def prepare(self, file: bytes | bytearray, job: Job, permit: Permit) -> PreparedPicture:
        """Has one picture decoded. Afterwards `idle` tells whether the process is still good.

        Args:
            file: The bytes of an image file.
            job: What to do.
            permit: See `sightbox.pictures.prepare_picture`; its time does not count.

        Raises:
            ImageError: The picture cannot be read, or exceeds a limit.
            DeadlineError: The permit was not given.
        """
        self.idle = False
        try:
            prepared = self._converse(file, job, permit)
        except (EOFError, OSError, ValueError) as error:
            raise self._lost(error) from error
        self.idle = True
        return prepared

    def kill(self) -> None:
        """Ends the process, and with it what waits for it. Any thread may do this."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends the process and frees what belongs to it."""
        self.kill()
        self._pipe.connection.close()

    def _converse(self, file: bytes | bytearray, job: Job, permit: Permit) -> PreparedPicture:
        begun = time.monotonic()
        self._pipe.deadline = begun + self._limits.seconds
        send(self._pipe, job.to_json(), file)
        head, _ = receive(self._pipe, 0)
        self._raise_told(head)
        pixels = head.get("pixels")
        # What the picture's bytes have made of the process must not be believed.
        if not isinstance(pixels, int) or not 0 <= pixels <= job.limits.max_pixels:
            raise ValueError("no number of pixels")
        before = time.monotonic()
        self._ask(permit, pixels)
        waited = time.monotonic() - before
        self._pipe.deadline += waited
        send(self._pipe, {"go": True})
        head, body = receive(self._pipe, 3 * job.recipe.crop**2)
        self._raise_told(head)
        spent = time.monotonic() - begun - waited
        return replace(result_from_json(head, body, job, spent), waited=waited)

    def _ask(self, permit: Permit, pixels: int) -> None:
        try:
            permit(pixels)
        except SightboxError:
            self._pipe.deadline = time.monotonic() + self._limits.seconds
            send(self._pipe, {"go": False})
            self.idle = True
            raise

    def _raise_told(self, head: Json) -> None:
        code = head.get("error")
        if code is None:
            return
        kind, detail, hint = _ERRORS.get(str(code)), head.get("detail"), head.get("hint")
        if kind is None or not isinstance(detail, str) or not isinstance(hint, str):
            raise ValueError("no error")
        self.idle = True
        raise kind(detail, hint)

    def _lost(self, error: Exception) -> SightboxError:
        """Says why there was no answer."""
        self.kill()
        ended = self._process.returncode
        if isinstance(error, TimeoutError) or ended == -signal.SIGXCPU:
            return DecodeTimeError(
                f"The picture took longer than {self._limits.seconds:g} s to decode.",
                f"{_SAVE_AGAIN} The limit is the setting decode_seconds.",
            )
        if ended == OUT_OF_MEMORY:
            return DecodeMemoryError(
                f"The picture needs more than {self._limits.memory_mb:g} MB to be decoded.",
                "Make it smaller, or raise the setting decode_memory_mb.",
            )
        return DecoderCrashError(
            f"The decoder broke down on this picture: {_ending(ended)}.", _SAVE_AGAIN
        )


_IN_THREADS = "The log may have more. With the setting isolation=thread no process is needed."


def _start(channel: socket.socket, limits: ProcessLimits) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - a string
    numbers = str(limits.memory_mb), str(limits.seconds)
    return subprocess.Popen(
        # What lies in the working folder is no module, and no picture writes into the log.
        [sys.executable, "-P", "-W", "ignore", "-m", "sightbox.decoding.worker", *numbers],
        env=kept | _ONE_THREAD | {"PYTHONPATH": path},
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        # A terminal's Ctrl-C is for the owner.
        start_new_session=True,
    )


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
