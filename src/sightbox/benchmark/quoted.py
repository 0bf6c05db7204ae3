"""Figures that others told of other machines, to stand beside our own: quoted, not measured."""

from typing import NamedTuple


class Quoted(NamedTuple):
    """What was told of one machine, for ResNet-18 in PyTorch and pictures of its input size.

    Attributes:
        machine: Its name.
        latency_ms: Time of one picture.
        images_per_second: Pictures a second, one by one.
        megabytes: Memory of the process, 10**6 bytes.
        start_s: Time from the start to the first answer.
        batches: Pictures a second by the size of the batch.
    """

    machine: str
    latency_ms: float
    images_per_second: float
    megabytes: float
    start_s: float
    batches: dict[int, float]


QUOTED = (
    Quoted("NVIDIA A100", 3.2, 310, 650, 4.1, {1: 310, 4: 890, 8: 1250, 16: 1420}),
    Quoted("Apple M1 Pro (MPS)", 6.8, 147, 520, 3.7, {1: 147, 4: 320, 8: 410, 16: 430}),
    Quoted("Intel i5-8250U", 28.5, 35, 480, 2.9, {1: 35, 4: 98, 8: 112, 16: 115}),
)
"""From the performance report that Sightbox was asked to better; nobody has repeated them here."""
