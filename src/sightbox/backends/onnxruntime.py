"""ONNX Runtime on the processor: the default backend."""

from collections.abc import Sequence

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as states

from sightbox.backends import Arrays, Pixels
from sightbox.errors import BackendError
from sightbox.model import GRAPH, Model

QUIET = 3
"""ONNX Runtime's log level "error"; its warnings are about its own optimiser."""

_ERRORS = tuple(
    kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""The runtime's own errors have no common base but `Exception`."""


class OnnxRuntimeBackend:
    """Runs the model's ONNX graph. Outputs that are not asked for cost nothing measurable."""

    name = "onnxruntime"
    variant = "fp32"

    def __init__(self) -> None:
        self._session: ort.InferenceSession | None = None

    def load(self, model: Model, threads: int) -> None:
        """Loads the graph with `threads` threads inside one operator."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        try:
            self._session = ort.InferenceSession(
                model.read(GRAPH), options, providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime refuses {model.card.name}: {error}") from error

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch."""
        if self._session is None:
            raise BackendError("The backend is not loaded.")
        try:
            arrays = self._session.run(list(outputs), {"images": images})
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from error
        return dict(zip(outputs, arrays, strict=True))

    def close(self) -> None:
        """Drops the session."""
        self._session = None


create = OnnxRuntimeBackend
