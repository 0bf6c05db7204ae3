"""Keeps compiled networks as files, so that the next start need not compile them."""

import hashlib
import logging
from pathlib import Path

from sightbox.atomicfile import write_atomically

_DIGEST_BYTES = 32
"""Length of a sha256."""

logger = logging.getLogger(__name__)


class BlobFolder:
    """A folder of compiled networks; each is whole and meant for this machine, or not used.

    A file is a sha256 and a blob; the digest is that of the blob's circumstances (what it was
    compiled from, by which version, for what) and the blob. So one comparison finds a cut or
    damaged file and one of another machine, and a newer blob takes the place of an older one.
    OpenVINO's own cache has no such sum: it loaded a blob with 64 changed bytes, and its logits
    were off by up to 1.7.

    Args:
        folder: The folder; it is made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, circumstances: str) -> bytes | None:
        """Returns the blob kept under `name`; None when there is no whole one that fits."""
        try:
            content = (self._folder / name).read_bytes()
        except OSError:
            return None
        digest, blob = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return blob if digest == _digest(circumstances, blob) else None

    def write(self, name: str, circumstances: str, blob: bytes) -> None:
        """Keeps `blob` under `name`, unless the folder cannot be made or written.

        The folder above it must be there: it may be a model's, which somebody has just removed.
        """
        try:
            self._folder.mkdir(exist_ok=True)
            write_atomically(self._folder / name, _digest(circumstances, blob) + blob)
        except OSError as error:
            logger.info("The compiled network is not kept: %s", error)


def _digest(circumstances: str, blob: bytes) -> bytes:
    total = hashlib.sha256(circumstances.encode() + b"\n")
    total.update(blob)
    return total.digest()
