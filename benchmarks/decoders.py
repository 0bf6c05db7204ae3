"""Pillow's JPEG decoder against simplejpeg, PyTurboJPEG and OpenCV: the same bytes? how long?

Run ``python benchmarks/decoders.py FOLDER [ROUNDS]`` after installing the rivals:
``pip install simplejpeg PyTurboJPEG opencv-python-headless``. One that is missing is named. Each
photo is decoded by each in turn; times are medians. JPEG files that are not RGB or grey, or that
EXIF turns, are left out: the rivals treat them otherwise.
"""

import io
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.machine import processor_name

Pixels = NDArray[np.uint8]
Decode = Callable[[bytes], Pixels]

ORIENTATION = 274
"""The EXIF tag (EXIF 3.0, section 4.6.5.1.6); 1 asks for no turn."""


def _pillow() -> Decode:
    def decode(data: bytes) -> Pixels:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    return decode


def _simplejpeg() -> Decode:
    library: Any = import_module("simplejpeg")
    return lambda data: library.decode_jpeg(data, "RGB")


def _turbojpeg() -> Decode:
    library: Any = import_module("turbojpeg")
    made = library.TurboJPEG()
    return lambda data: made.decode(data, library.TJPF_RGB)


def _opencv() -> Decode:
    library: Any = import_module("cv2")

    def decode(data: bytes) -> Pixels:
        image = library.imdecode(np.frombuffer(data, np.uint8), library.IMREAD_COLOR)
        pixels: Pixels = library.cvtColor(image, library.COLOR_BGR2RGB)
        return pixels

    return decode


RIVALS = {
    "Pillow": _pillow,
    "simplejpeg": _simplejpeg,
    "PyTurboJPEG": _turbojpeg,
    "OpenCV": _opencv,
}


def main(folder: Path, rounds: int) -> None:
    """Prints the table."""
    decoders: dict[str, Decode] = {}
    for name, make in RIVALS.items():
        try:
            decoders[name] = make()
        except (ImportError, RuntimeError, OSError) as error:
            print(f"{name} is absent: {error}")
    photos = [data for path in sorted(folder.iterdir()) if _is_plain(data := path.read_bytes())]
    times: dict[str, list[float]] = {name: [] for name in decoders}
    off: dict[str, list[int]] = {name: [] for name in decoders}
    for number, data in enumerate(photos * rounds):
        expected = decoders["Pillow"](data).astype(np.int16) if number < len(photos) else None
        for name, decode in decoders.items():
            start = perf_counter()
            pixels = decode(data)
            times[name].append(1000 * (perf_counter() - start))
            if expected is not None:
                off[name].append(int(np.abs(pixels - expected).max()))
    print(f"{processor_name()}, {len(photos)} photos, {rounds} rounds")
    print("decoder           ms  ÷ Pillow  photos with equal bytes  largest difference")
    for name, spent in times.items():
        ratio = median(spent) / median(times["Pillow"])
        equal = sum(each == 0 for each in off[name])
        print(f"{name:12} {median(spent):7.2f} {ratio:9.2f} {equal:24} {max(off[name]):19}")


def _is_plain(data: bytes) -> bool:
    if not data.startswith(b"\xff\xd8"):
        return False
    with Image.open(io.BytesIO(data)) as image:
        return image.mode in {"RGB", "L"} and image.getexif().get(ORIENTATION, 1) == 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 3)
