"""What the rivals on ONNX Runtime share: pixels by Pillow and NumPy, the session, the answer."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

GRAPH = "plain.onnx"
"""The network as exporters write it: float32 [N, 3, H, W] in, logits out."""


def arguments() -> argparse.Namespace:
    """Returns the folder of the model and the port, as every rival takes them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    return parser.parse_args()


class Transform:
    """Resize, crop and normalise as torchvision does, for a photo's bytes.

    Args:
        folder: The model's folder; its card has the numbers.
    """

    def __init__(self, folder: Path) -> None:
        card: dict[str, Any] = json.loads((folder / "model.json").read_text("utf-8"))
        recipe = card["recipe"]
        self._resize, self._crop = recipe["resize"], recipe["crop"]
        self._filter = Image.Resampling[recipe["interpolation"].upper()]
        self._mean: Floats = np.array(card["mean"], np.float32)
        self._std: Floats = np.array(card["std"], np.float32)

    def __call__(self, photo: bytes) -> Floats:
        """Returns float32 [3, H, W]."""
        image = Image.open(io.BytesIO(photo)).convert("RGB")
        short = min(image.size)
        width, height = (self._resize * side // short for side in image.size)
        left = round((width - self._crop) / 2)
        top = round((height - self._crop) / 2)
        image = image.resize((width, height), self._filter)
        image = image.crop((left, top, left + self._crop, top + self._crop))
        scaled: Floats = np.asarray(image, np.float32) / np.float32(255)
        normalized: Floats = (scaled - self._mean) / self._std
        return normalized.transpose(2, 0, 1)


def session(folder: Path) -> ort.InferenceSession:
    """Returns ONNX Runtime with its own defaults on the processor."""
    return ort.InferenceSession(folder / GRAPH, providers=["CPUExecutionProvider"])


def run(engine: ort.InferenceSession, batch: Floats) -> Floats:
    """Returns the logits [N, C] of a batch [N, 3, H, W]."""
    name = engine.get_inputs()[0].name
    logits: Floats = engine.run(["logits"], {name: batch})[0]
    return logits


def top5(logits: Floats) -> dict[str, list[dict[str, Any]]]:
    """Returns the answer to one photo, from logits [C]."""
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    best = np.argsort(-scores)[:5]
    return {"predictions": [{"index": int(i), "score": float(scores[i])} for i in best]}
