"""What the ways to preprocess cost and change, over photos.

Run ``python benchmarks/preprocessing.py FOLDER [ROUNDS]``. The embedded model answers with fp32 on
ONNX Runtime. Where file names begin with WordNet ids (``n02123045_7.jpg``), accuracy is told too.
Times are medians over all photos and rounds, each photo in each way in turn.
"""

import sys
from pathlib import Path
from statistics import median

import numpy as np

from sightbox.agreement import compare
from sightbox.classifier import Classifier
from sightbox.machine import processor_name
from sightbox.pictures import PreparedPicture
from sightbox.preprocessing import PREPROCESSINGS


def main(folder: Path, rounds: int) -> None:
    """Prints the table."""
    photos = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    names = [path.stem for path in sorted(folder.iterdir()) if path.is_file()]
    prepared: dict[str, list[PreparedPicture]] = {way: [] for way in PREPROCESSINGS}
    with Classifier("efficientnet-lite0", "onnxruntime", variant="fp32") as classifier:
        for _ in range(rounds):
            for photo in photos:
                for way, done in prepared.items():
                    done.append(classifier.prepare(photo, way))
        logits = {
            way: np.stack([classifier.infer(each.pixels[None])[0].logits for each in done])
            for way, done in ((way, done[: len(photos)]) for way, done in prepared.items())
        }
        classes = [classifier.labels.find(name.partition("_")[0]) for name in names]
    targets = None if None in classes else np.array(classes)
    print(f"{processor_name()}, {len(photos)} photos, {rounds} rounds")
    print("way       decode ms  resize ms  time   same top-1  top-1  mean change  largest change")
    exact_ms = 0.0
    for way, done in prepared.items():
        decoding = 1000 * median(each.decoding for each in done)
        resizing = 1000 * median(each.preprocessing for each in done)
        exact_ms = exact_ms or decoding + resizing
        found = compare(logits["exact"], logits[way], targets)
        accuracy = "" if found.accuracy_after is None else f"{found.accuracy_after:.3f}"
        print(
            f"{way:9} {decoding:9.2f} {resizing:10.2f} {(decoding + resizing) / exact_ms:6.2f}"
            f"{found.top1:12.3f}{accuracy:>7}{found.mean_change:13.4f}{found.largest_change:16.4f}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 3)
