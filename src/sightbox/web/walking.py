"""The JSON of a walk through a network, with its pictures as data URLs."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightbox.channels import Plane, palette
from sightbox.schema import Json, model_to_json
from sightbox.walkthrough import Addition, Step, Walkthrough

PHOTO_QUALITY = 88
"""Of a shown photo, as JPEG: it is a reduced copy, and no one counts its levels."""

GLOW = palette([(6, 22, 18), (11, 84, 68), (38, 150, 118), (150, 210, 140), (255, 246, 206)])
"""Dark green to cream: it grows lighter all the way, so that it reads the same printed in grey."""

TINTS = [palette([(0, 0, 0), light]) for light in ((255, 64, 64), (64, 220, 96), (72, 128, 255))]
"""The colours of the three normalised channels: red, green and blue."""


def walkthrough_to_json(walked: Walkthrough, languages: tuple[str, ...] | None = None) -> Json:
    """Returns a walk as JSON values; only labels in `languages` when given."""
    return {
        "model": model_to_json(walked.model) | {"title": walked.title},
        "steps": [_step_to_json(step) for step in walked.steps],
        "best": [
            {
                "index": score.index,
                "wnid": score.wnid,
                "label": {
                    code: name
                    for code, name in score.label.items()
                    if not languages or code in languages
                }
                or dict(score.label),
                "score": round(score.score, 6),
                "logit": round(float(walked.logits[score.index]), 4),
            }
            for score in walked.best
        ],
    }


def _step_to_json(step: Step) -> Json:
    tints = TINTS if step.kind == "normalize" else [GLOW] * len(step.planes)
    return {
        "kind": step.kind,
        "tensor": step.tensor,
        "shape": list(step.shape),
        "dtype": step.dtype,
        "ms": None if step.milliseconds is None else round(step.milliseconds, 3),
        "photos": [_photo(pixels) for pixels in step.photos],
        "planes": [_plane(*pair) for pair in zip(step.planes, tints, strict=True)],
        "additions": [_addition(addition) for addition in step.additions],
        "values": None if step.values is None else [round(float(v), 3) for v in step.values],
        "facts": dict(step.facts),
    }


def _plane(plane: Plane, colours: bytes) -> Json:
    picture = Image.fromarray(plane.pixels).convert("P")
    picture.putpalette(colours)
    return {
        "channel": plane.channel,
        "low": round(plane.low, 3),
        "high": round(plane.high, 3),
        "png": _url(picture, "PNG", optimize=False),
    }


def _addition(addition: Addition) -> Json:
    return {
        "name": addition.name,
        "ratio": round(addition.ratio, 4),
        "planes": [_plane(plane, GLOW) for plane in addition.planes],
    }


def _photo(pixels: NDArray[np.uint8]) -> str:
    return _url(Image.fromarray(pixels), "JPEG", quality=PHOTO_QUALITY)


def _url(picture: Image.Image, kind: str, **options: object) -> str:
    encoded = io.BytesIO()
    picture.save(encoded, kind, **options)
    text = base64.b64encode(encoded.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
