"""How far the answers of a fast variant of a network agree with the exact ones."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import ModelError, RequestError
from sightbox.prediction import softmax

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """The report that is kept beside a variant.

    Attributes:
        images: Number of pictures that were compared.
        top1: Part of them whose most likely class is the same, 0 to 1.
        top5: How many of the exact network's five most likely classes are among the variant's
            five: the mean part over all pictures, 0 to 1.
        mean_change: The largest change of a class's probability, averaged over the pictures.
        largest_change: The largest change of a class's probability in any picture.
        accuracy_before: Part of the pictures that the exact network names rightly; None where the
            right names are not known.
        accuracy_after: The same for the variant.
        pictures: What was compared and what calibrated: ``own`` pictures or ``drawn`` ones.
        calibration_images: How many other pictures calibrated the variant.
        float_convolutions: How many convolutions, from the first one on, are left in float.
        engines: Names of the runtimes that answered; the figures are those of the worst of them.
        instruction_sets: What the processor offered.
    """

    images: int
    top1: float
    top5: float
    mean_change: float
    largest_change: float
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    pictures: str = ""
    calibration_images: int = 0
    float_convolutions: int = 0
    engines: tuple[str, ...] = ()
    instruction_sets: tuple[str, ...] = ()

    def passes(self, least_top1: float) -> bool:
        """Tells whether the most likely class is the same in at least this part, 0 to 1."""
        return self.top1 >= least_top1

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Agreement":
        """Reads a report.

        Raises:
            ModelError: The text is no report; the message says where it goes wrong.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            for name in ("engines", "instruction_sets"):
                fields[name] = tuple(fields[name])
            report = cls(**fields)
            # A report decides which variant answers: it must be able to say so.
            report.passes(0)
        except (LookupError, TypeError, ValueError) as error:
            raise ModelError(f"The agreement report is damaged: {error}.") from error
        return report


def compare(exact: Logits, fast: Logits, targets: NDArray[np.integer] | None = None) -> Agreement:
    """Compares the logits of two networks, float32 [N, C], for the same pictures; N >= 1.

    Args:
        exact: The exact network's.
        fast: The variant's.
        targets: The right class numbers, [N], where they are known.

    Raises:
        RequestError: There is nothing to compare, or the shapes differ.
    """
    if exact.shape != fast.shape or exact.size == 0:
        raise RequestError(
            f"Logits of the shapes {list(exact.shape)} and {list(fast.shape)} cannot be compared."
        )
    before, after = _five_most_likely(exact), _five_most_likely(fast)
    changes = np.abs(softmax(exact) - softmax(fast)).max(axis=1)
    return Agreement(
        images=len(exact),
        top1=_part(before[:, 0] == after[:, 0]),
        top5=_part((before[:, :, None] == after[:, None, :]).any(axis=2)),
        mean_change=float(changes.mean()),
        largest_change=float(changes.max()),
        accuracy_before=None if targets is None else _part(before[:, 0] == targets),
        accuracy_after=None if targets is None else _part(after[:, 0] == targets),
    )


def _five_most_likely(logits: Logits) -> NDArray[np.int64]:
    return np.argsort(-logits, axis=1, kind="stable")[:, :5]


def _part(which: NDArray[np.bool_]) -> float:
    return float(which.mean())
