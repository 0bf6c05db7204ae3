"""The golden answers that the package ships: what EfficientNet-Lite0 says to drawn pictures.

Computed by torch alone, in float64: its own reading of the weights file, torchvision's resizing,
and the network of `reference.lite0`. ``python tests/reference/shipped.py`` (with ``tests`` on the
path) writes the file anew.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from reference.lite0 import EfficientNetLite0
from sightbox.catalogue import EMBEDDED, embedded_weights, known
from sightbox.golden import FILE, golden_photos


def reference_pixels() -> NDArray[np.uint8]:
    """Prepares the pictures as torchvision does, uint8 [N, H, W, 3]."""
    recipe = known(EMBEDDED).card.recipe
    resize = Resize(recipe.resize, InterpolationMode[recipe.interpolation.upper()])
    crop = CenterCrop(recipe.crop)
    return np.stack([np.asarray(crop(resize(Image.fromarray(p)))) for p in golden_photos()])


def reference_logits(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Computes the answers, float64 [N, 1000]."""
    card = known(EMBEDDED).card
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(embedded_weights(known(EMBEDDED)), weights_only=True))
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(v).double().view(1, -1, 1, 1) for v in (card.mean, card.std))
    with torch.inference_mode():
        logits: NDArray[np.float64] = network.double().eval()((pictures - mean) / std)[0].numpy()
    return logits


def digests(pixels: NDArray[np.uint8]) -> list[str]:
    """Returns the sha256 of each picture's pixels."""
    return [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]


if __name__ == "__main__":
    prepared = reference_pixels()
    np.savez_compressed(
        FILE,
        logits=reference_logits(prepared).astype(np.float32),
        pixels=np.array(digests(prepared)),
    )
