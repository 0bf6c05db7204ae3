"""Accuracy of the embedded model over labelled photos, and its distance from reference logits.

Run ``python benchmarks/labelled_photos.py PHOTOS REFERENCE.npz``.
PHOTOS holds images; REFERENCE.npz holds, for each of them, `names` (file name), `target` (class
number) and `logits` (float32 [N, C]).
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sightbox.backends import create_backend
from sightbox.catalogue import EMBEDDED
from sightbox.image import decode_image
from sightbox.preprocessing import prepare
from sightbox.store import Store


def main(photos: Path, reference: Path) -> None:
    """Prints the figures."""
    model = Store().open(EMBEDDED)
    backend = create_backend("onnxruntime")
    backend.load(model, threads=1)
    expected = np.load(reference)
    logits = np.stack(
        [
            backend.run(prepare(_pixels(photos / str(name)), model.card.recipe)[None])["logits"][0]
            for name in expected["names"]
        ]
    )
    order = np.argsort(-logits, axis=1)
    targets = expected["target"][:, None]
    print(f"model                     {model.card.name} fp32, onnxruntime")
    print(f"photos                    {len(logits)}")
    print(f"top-1                     {(order[:, :1] == targets).any(axis=1).mean():.3f}")
    print(f"top-5                     {(order[:, :5] == targets).any(axis=1).mean():.3f}")
    print(f"same top-1 as reference   {(order[:, 0] == expected['logits'].argmax(1)).mean():.3f}")
    print(f"largest logit difference  {np.abs(logits - expected['logits']).max():.2e}")


def _pixels(path: Path) -> Image.Image:
    return decode_image(path.read_bytes()).pixels


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
