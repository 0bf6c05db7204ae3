"""What PyTorch does beyond computing on a GPU of NVIDIA's: copies without detour, and graphs.

Launching the hundred kernels of a small network one by one takes the processor longer than the GPU
needs for them. A CUDA graph is such a sequence, recorded once and launched as one; it is bound to
the memory it was recorded with, and so to one batch size.

No CUDA device was available. What is tested, with an `Accelerator` of the tests' own on the
processor: what is recorded when and how often, what is replayed, which batches go without, that
no answer is overwritten by the next one, and what closing frees. What is not: `Cuda` itself, the
few lines that call ``torch.cuda``, which follow PyTorch's documentation (notes/cuda, "CUDA
Graphs"); and how much any of it brings.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch

from sightbox.backends import Pixels

GRAPH_SIZES = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 16, 32})
"""The batch sizes that get a graph: all up to the usual largest batch, and what `tune` tries."""

WARM_UPS = 3
"""Runs before a graph is recorded, in which libraries set themselves up (PyTorch's own number)."""

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Logits, features and maps."""

Run = Callable[[torch.Tensor], Outputs]
Work = Callable[[], Outputs]

logger = logging.getLogger(__name__)


class Accelerator(Protocol):
    """A device whose work is queued: calls return before it is done."""

    def pin(self, shape: Sequence[int]) -> torch.Tensor:
        """Returns host memory that the device can copy from by itself, uint8."""

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """Returns a copy on the device."""

    def refill(self, device: torch.Tensor, host: torch.Tensor) -> None:
        """Copies to memory on the device."""

    def warm_up(self, work: Work) -> None:
        """Runs what is going to be captured, some times, beside the usual queue."""

    def capture(self, work: Work) -> tuple[Outputs, Callable[[], None]]:
        """Records what `work` does.

        Returns:
            The outputs, which each replay writes anew, and what replays it.

        Raises:
            RuntimeError: Something in it cannot be recorded.
        """

    def synchronise(self) -> None:
        """Returns when all that is queued is done."""

    def release(self) -> None:
        """Gives memory that nothing uses any more back to the device."""


class Cuda:
    """The current CUDA device. Nothing is asked of it before the first batch."""

    _pool = cached_property(lambda _: torch.cuda.graph_pool_handle())

    @cached_property
    def _side(self) -> torch.cuda.Stream:
        return torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's

    def pin(self, shape: Sequence[int]) -> torch.Tensor:
        """Returns page-locked memory."""
        return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=True)

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """Queues the copy."""
        return host.to("cuda", non_blocking=True)

    def refill(self, device: torch.Tensor, host: torch.Tensor) -> None:
        """Queues the copy."""
        device.copy_(host, non_blocking=True)

    def warm_up(self, work: Work) -> None:
        """Runs it `WARM_UPS` times in the stream where it will be captured."""
        usual = torch.cuda.current_stream()
        self._side.wait_stream(usual)
        with torch.cuda.stream(self._side):
            for _ in range(WARM_UPS):
                work()
        usual.wait_stream(self._side)

    def capture(self, work: Work) -> tuple[Outputs, Callable[[], None]]:
        """Records a CUDA graph.

        All graphs share the memory of what they compute on the way: they are replayed one at a
        time, and what one of them leaves there no other reads. Their outputs stay apart, for those
        tensors are kept.
        """
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what other threads allocate meanwhile is no concern of this graph.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"
        ):
            outputs = work()
        return outputs, graph.replay

    def synchronise(self) -> None:
        """Waits for the current stream."""
        torch.cuda.current_stream().synchronize()

    def release(self) -> None:
        """Empties torch's stock of memory."""
        torch.cuda.empty_cache()


class _Graph(NamedTuple):
    """A recorded batch size: where it reads, where it writes, what replays it."""

    pixels: torch.Tensor
    outputs: Outputs
    replay: Callable[[], None]


class Conveyor:
    """Runs batches on an accelerator, one at a time.

    Not thread-safe: the outputs may lie in memory that the next batch is written to. They must be
    copied, after `synchronise`, before the next call.

    Args:
        network: Runs the network on the device.
        accelerator: The device.
        graphs: Whether batches of `GRAPH_SIZES` are recorded on first use, and then replayed.
    """

    def __init__(self, network: Run, accelerator: Accelerator, *, graphs: bool) -> None:
        self._network = network
        self._accelerator = accelerator
        self._sizes = GRAPH_SIZES if graphs else frozenset()
        self._pinned = torch.empty(0)
        self._graphs: dict[int, _Graph | None] = {}

    def run(self, images: Pixels) -> Outputs:
        """Runs a batch.

        Args:
            images: uint8 [N, H, W, C]; H, W and C are the same in all calls.

        Returns:
            Tensors on the device.
        """
        host = self._stage(images)
        graph = self._graph(host) if len(images) in self._sizes else None
        if graph is None:
            outputs = self._network(self._accelerator.upload(host))
        else:
            self._accelerator.refill(graph.pixels, host)
            graph.replay()
            outputs = graph.outputs
        self._accelerator.synchronise()
        return outputs

    def close(self) -> None:
        """Frees graphs and buffers."""
        self._graphs.clear()
        self._pinned = torch.empty(0)
        self._accelerator.release()

    def _stage(self, images: Pixels) -> torch.Tensor:
        """Copies a batch to page-locked memory, which grows to the largest batch so far."""
        if len(self._pinned) < len(images):
            self._pinned = self._accelerator.pin(images.shape)
        host = self._pinned[: len(images)]
        host.numpy()[...] = images
        return host

    def _graph(self, host: torch.Tensor) -> _Graph | None:
        """Returns the graph of a batch size, recorded now or before; None if it cannot be."""
        size = len(host)
        if size not in self._graphs:
            try:
                self._graphs[size] = self._record(host)
            except RuntimeError as error:
                logger.warning("Batches of %d go without a CUDA graph: %s", size, error)
                self._graphs[size] = None
        return self._graphs[size]

    def _record(self, host: torch.Tensor) -> _Graph:
        pixels = self._accelerator.upload(host)

        def work() -> Outputs:
            return self._network(pixels)

        self._accelerator.warm_up(work)
        outputs, replay = self._accelerator.capture(work)
        return _Graph(pixels, outputs, replay)


def accelerator_of(device: torch.device) -> Accelerator | None:
    """Returns what a device offers beyond computing; None where that is nothing."""
    return Cuda() if device.type == "cuda" else None


def fetch(tensor: torch.Tensor) -> np.ndarray:
    """Returns a copy in memory of its own, as float32."""
    return torch.empty(tensor.shape).copy_(tensor.detach()).numpy()
