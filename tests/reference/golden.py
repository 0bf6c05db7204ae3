"""The golden answers: what the seeded ResNet-18 says to drawn pictures, in float64.

They were computed once, by torchvision's own network on the normalised pictures, and are kept as a
file, so that no backend is compared with itself. ``python tests/reference/golden.py`` (with
``tests`` on the path) writes the file anew.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reference.seeded import SIDE, model_of, seeded_resnet18
from sightbox.backends import Pixels
from sightbox.drawing import calibration_pictures

FILE = Path(__file__).with_name("golden.json")
PICTURES = 40
DIGITS = 6
"""Digits after the point in the file: a thousandth of what backends may differ by."""


def golden_pictures() -> Pixels:
    """Returns the pictures, uint8 [40, H, W, 3]."""
    return np.stack(list(calibration_pictures(PICTURES, SIDE, seed=5)))


def golden_logits() -> NDArray[np.float64]:
    """Reads the answers, float64 [40, C]."""
    return np.array(json.loads(FILE.read_text("utf-8"))["logits"])


def computed_logits() -> NDArray[np.float64]:
    """Computes the answers, float64 [40, C]."""
    network = seeded_resnet18()
    card = model_of(network).card
    pictures = torch.from_numpy(golden_pictures()).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(v).double().view(1, -1, 1, 1) for v in (card.mean, card.std))
    with torch.inference_mode():
        logits: NDArray[np.float64] = network.double()((pictures - mean) / std).numpy()
    return logits


if __name__ == "__main__":
    rows = [json.dumps([round(value, DIGITS) for value in row]) for row in computed_logits()]
    FILE.write_text('{"logits": [\n' + ",\n".join(rows) + "\n]}\n", "utf-8")
