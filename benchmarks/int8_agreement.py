"""Agreement of int8 variants of the embedded model with the exact network, over labelled photos.

Run ``python benchmarks/int8_agreement.py PHOTOS REFERENCE.npz [RESULT.json]`` (some minutes).
PHOTOS holds images; REFERENCE.npz holds, for each of them, `names` (file name) and `target` (class
number). Each variant answers in each runtime, over the photos and over six views of each photo
(itself, mirrored, cut, brighter, darker): of 200 photos, a single one is half a point.
The last runtime is OpenVINO as on a processor without VNNI; ONNX Runtime has no such switch.
RESULT.json gets all rows, and the machine that they were measured on.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from sightbox.agreement import Agreement, compare
from sightbox.backends.telemetry import silenced
from sightbox.catalogue import EMBEDDED
from sightbox.drawing import calibration_pictures
from sightbox.image import decode_image
from sightbox.machine import instruction_sets, processor_name
from sightbox.model import GRAPH
from sightbox.preprocessing import Recipe, prepare
from sightbox.quantization import Engine, quantize
from sightbox.store import Store

with silenced():
    import onnxruntime as ort
    import openvino
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

VIEWS = 6
BATCH = 8
WITHOUT_VNNI = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""A switch of oneDNN, whose kernels OpenVINO runs."""

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


def main(photos: Path, reference: Path, result: Path | None) -> None:
    """Prints the table."""
    model = Store().open(EMBEDDED)
    recipe, graph = model.card.recipe, model.read(GRAPH)
    expected = np.load(reference)
    decoded = (decode_image((photos / str(name)).read_bytes()) for name in expected["names"])
    views = np.stack([prepare(view, recipe) for each in decoded for view in _views(each.pixels)])
    targets = np.repeat(expected["target"], VIEWS)
    exact = _onnxruntime(graph, views)
    machine = {"processor": processor_name(), "instruction_sets": instruction_sets()}
    print(machine, f"{len(views) // VIEWS} photos, {len(views)} views", sep="\n")
    print(f"{'top-1 agreement, top-1, mean change of':57}{'the photos':24}the views")
    rows = []
    for name, variant in _variants(graph, recipe, views[::VIEWS]):
        for engine, run in ENGINES.items():
            fast = run(variant, views)
            found = (
                compare(exact[::VIEWS], fast[::VIEWS], targets[::VIEWS]),
                compare(exact, fast, targets),
            )
            print(f"{name:34}{engine:23}{_told(found[0]):24}{_told(found[1])}", flush=True)
            rows.append({"variant": name, "engine": engine, "found": [asdict(f) for f in found]})
    if result is not None:
        result.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


def _told(found: Agreement) -> str:
    change = f"{found.accuracy_before:.3f}>{found.accuracy_after:.3f}"
    return f"{found.top1:.3f} {change} {found.mean_change:.3f}"


def _views(photo: Image.Image) -> Iterator[Image.Image]:
    """Yields `VIEWS` views of a photo, itself first."""
    width, height = photo.size
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    upper_left = photo.crop((0, 0, width * 4 // 5, height * 4 // 5))
    lower_right = mirrored.crop((width // 6, height // 6, width, height))
    yield from (photo, mirrored, upper_left, lower_right)
    yield ImageEnhance.Brightness(upper_left).enhance(1.35)
    yield ImageEnhance.Contrast(ImageEnhance.Brightness(lower_right).enhance(0.65)).enhance(0.8)


def _variants(graph: bytes, recipe: Recipe, photos: Pixels) -> Iterator[tuple[str, bytes]]:
    def drawn(count: int) -> Iterable[Pixels]:
        return calibration_pictures(count, recipe.crop)

    yield "ONNX Runtime's, 100 drawn", _by_library(graph, drawn(100), reduce_range=False)
    yield "ONNX Runtime's, reduce_range", _by_library(graph, drawn(100), reduce_range=True)
    yield "ours, 100 drawn (the default)", quantize(graph, drawn(100))
    yield "ours, 16 drawn", quantize(graph, drawn(16))
    yield "ours, 400 drawn", quantize(graph, drawn(400))
    yield "ours, every second photo", quantize(graph, photos[::2])
    yield "ours, 100 drawn, first 1 in float", quantize(graph, drawn(100), float_convolutions=1)
    yield "ours, 100 drawn, first 8 in float", quantize(graph, drawn(100), float_convolutions=8)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    def __init__(self, pictures: Iterable[Pixels]) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, Pixels] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {"images": picture[None]}


def _by_library(graph: bytes, pictures: Iterable[Pixels], *, reduce_range: bool) -> bytes:
    """Quantises as ONNX Runtime does by itself, a scale for each channel."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        before.write_bytes(graph)
        quantize_static(
            before,
            after,
            _Reader(pictures),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=["scaled", "normalized"],
        )
        return after.read_bytes()


def _batched(answer: Callable[[Pixels], Logits], views: Pixels) -> Logits:
    starts = range(0, len(views), BATCH)
    return np.concatenate([answer(views[start : start + BATCH]) for start in starts])


def _onnxruntime(graph: bytes, views: Pixels) -> Logits:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return _batched(lambda batch: session.run(["logits"], {"images": batch})[0], views)


def _openvino(graph: bytes, views: Pixels) -> Logits:
    core = openvino.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(graph), "CPU", hints).create_infer_request()
    return _batched(lambda batch: request.infer({"images": batch})["logits"].copy(), views)


def _openvino_without_vnni(graph: bytes, views: Pixels) -> Logits:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("graph.onnx", "views.npy", "logits.npy")]
        files[0].write_bytes(graph)
        np.save(files[1], views)
        command = [sys.executable, __file__, "--answer", *map(str, files)]
        subprocess.run(command, check=True, env={**os.environ, **WITHOUT_VNNI})
        logits: Logits = np.load(files[2])
        return logits


ENGINES: dict[str, Engine] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "openvino without VNNI": _openvino_without_vnni,
}


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    if sys.argv[1] == "--answer":
        np.save(arguments[3], _openvino(arguments[1].read_bytes(), np.load(arguments[2])))
    else:
        main(arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else None)
