"""What a model's card keeps of how far its scores can be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass

HOTTEST = 100.0
"""Largest temperature of a card; that of a well-trained network is between 0.5 and 4 or so."""


@dataclass(frozen=True)
class Calibration:
    """How scores are made of logits, and from which one on an answer is sure.

    Attributes:
        temperature: What logits are divided by before softmax, above 0: below 1 for a network that
            is surer of nothing than it could be, above 1 for one that is too sure.
        threshold: The score of the most likely class from which an answer is sure, 0 to 1; None
            where no threshold keeps the precision.
        precision: The part of the sure answers that was wanted to be right, 0 to 1.
        pictures: How many labelled pictures both were fitted to.
        variant: Which variant answered those pictures.
    """

    temperature: float
    threshold: float | None
    precision: float
    pictures: int
    variant: str

    def problems(self) -> Iterator[str]:
        """Yields what is wrong with it, so written that NaN is wrong."""
        if not (_is_number(self.temperature) and 0 < self.temperature <= HOTTEST):
            yield f"the temperature is {self.temperature!r}"
        if self.threshold is not None and not _is_part(self.threshold):
            yield f"the threshold is {self.threshold!r}"
        if not _is_part(self.precision):
            yield f"the precision is {self.precision!r}"
        if type(self.pictures) is not int or self.pictures < 1:
            yield f"the calibration has {self.pictures!r} pictures"
        if not _is_text(self.variant):
            yield f"the calibration's variant is {self.variant!r}"


def _is_number(value: object) -> bool:
    return type(value) in {int, float}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_part(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # type: ignore[operator]  # checked
