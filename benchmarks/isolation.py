"""What decoding in processes costs, against decoding in threads.

Run ``python benchmarks/isolation.py [FOLDER] [ROUNDS]``; without a folder the photos are drawn,
500 x 375 px. The embedded model answers with fp32 on ONNX Runtime. Both isolations are loaded in
one process and take every measurement in turn, round after round; *decode* is from the bytes to the
pixels, *classify* to the answer. Speeds are medians over the rounds.
"""

import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

from PIL import Image

from sightbox.classifier import Classifier
from sightbox.decoding.decoder import ISOLATIONS
from sightbox.drawing import calibration_pictures
from sightbox.machine import processor_name, usable_cores

PHOTO_SIZE = (500, 375)
PHOTOS = 40
QUALITY = 92
"""JPEG quality of drawn photos."""


def main(folder: Path | None, rounds: int) -> None:
    """Prints the table."""
    photos = _drawn() if folder is None else _read(folder)
    print(f"{processor_name()}, {usable_cores()} cores, {len(photos)} photos, {rounds} rounds")
    print("work      clients  thread img/s  process img/s  process / thread")
    thread, process = (
        Classifier("efficientnet-lite0", "onnxruntime", variant="fp32", isolation=isolation)
        for isolation in ISOLATIONS
    )
    with thread, process:
        works: dict[str, tuple[Callable[[bytes], object], ...]] = {
            "decode": (thread.prepare, process.prepare),
            "classify": (thread.classify, process.classify),
        }
        for name, sides in works.items():
            for clients in (1, 4 * usable_cores()):
                _print(
                    name,
                    clients,
                    [[_speed(side, photos, clients) for side in sides] for _ in range(rounds + 1)][
                        1:
                    ],
                )


def _print(name: str, clients: int, speeds: list[list[float]]) -> None:
    thread, process = (median(side) for side in zip(*speeds, strict=True))
    ratio = median(process / thread for thread, process in speeds)
    print(f"{name:9} {clients:7} {thread:13.1f} {process:14.1f} {ratio:17.2f}")


def _speed(work: Callable[[bytes], object], photos: list[bytes], clients: int) -> float:
    with ThreadPoolExecutor(clients) as pool:
        begun = perf_counter()
        for _ in pool.map(work, photos):
            pass
        return len(photos) / (perf_counter() - begun)


def _read(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]


def _drawn() -> list[bytes]:
    files = []
    for pixels in calibration_pictures(PHOTOS, max(PHOTO_SIZE)):
        stream = io.BytesIO()
        Image.fromarray(pixels).resize(PHOTO_SIZE).save(stream, "JPEG", quality=QUALITY)
        files.append(stream.getvalue())
    return files


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]) if given else None, int(given[1]) if given[1:] else 7)
