"""Batch of pixels to arrays: one module for each runtime, all with the same three methods."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightbox.errors import BackendNotAvailableError
from sightbox.model import EXACT, Model

BACKENDS = ("onnxruntime", "openvino", "pytorch", "dummy")
"""Names of the backends, the default first."""

_INSTALL = {"pytorch": "'sightbox[torch]'"}
"""What to install for a backend that the package does not bring by itself."""

Pixels = NDArray[np.uint8]
Arrays = dict[str, NDArray[np.float32]]


class Backend(Protocol):
    """Runs one network.

    Attributes:
        name: The backend's name.
        variant: The variant of the network that it runs, such as ``fp32``.
    """

    name: str
    variant: str

    def load(self, model: Model, threads: int, variant: str = EXACT, streams: int = 1) -> None:
        """Loads a variant of the model.

        Args:
            model: The model.
            threads: Threads that compute, at least 1.
            variant: The variant of it.
            streams: Batches that are computed at the same time, at least 1; they share the
                threads.

        Raises:
            BackendNotAvailableError: This backend or this machine cannot run the variant.
            BackendError: The runtime refuses the model.
        """

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch; may be called from several threads at once.

        Args:
            images: uint8 [N, H, W, 3], RGB, of the model's input size; N >= 1.
            outputs: Which of ``logits`` [N, C], ``features`` [N, D], ``maps`` [N, D, h, w].

        Raises:
            BackendError: The runtime failed.
        """

    def close(self) -> None:
        """Frees what `load` took; may be called twice."""


class Session(Protocol):
    """Runs a graph of any kind on the processor: a piece of a network, for looking into it."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Sequence[str]) -> Arrays:
        """Runs the graph.

        Args:
            inputs: The array of each input, by name.
            outputs: Names of the outputs that are wanted.

        Raises:
            BackendError: The runtime failed.
        """


def create_backend(name: str, device: str | None = None) -> Backend:
    """Returns a new, unloaded backend.

    Args:
        name: One of `BACKENDS`.
        device: Where it is to compute, as its module names it; the processor when not given.

    Raises:
        BackendNotAvailableError: The name is unknown, its runtime is not installed, or it knows no
            such device.
    """
    if name not in BACKENDS:
        raise BackendNotAvailableError(
            f"There is no backend {name!r}.", f"There are {', '.join(BACKENDS)}."
        )
    try:
        module = import_module(f"sightbox.backends.{name}")
    except ModuleNotFoundError as error:
        raise BackendNotAvailableError(
            f"The backend {name} needs {error.name}, which is not installed.",
            f"Install it: pip install {_INSTALL.get(name, name)}.",
        ) from error
    backend: Backend = module.create(device)
    return backend


def open_session(graph: bytes, threads: int) -> Session:
    """Returns what runs a graph; ONNX Runtime is loaded for it if nothing has done so before.

    Args:
        graph: A serialised ONNX model.
        threads: Threads that compute, at least 1.

    Raises:
        BackendError: The runtime refuses the graph.
    """
    session: Session = import_module("sightbox.backends.onnxruntime").GraphSession(graph, threads)
    return session
