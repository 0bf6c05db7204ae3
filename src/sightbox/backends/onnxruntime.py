"""ONNX Runtime: the default backend, on the processor or on what its installed build supports.

Tests cover the processor alone; of the other providers they cover the refusal of an absent one.
"""

from collections.abc import Sequence

from sightbox.backends import Arrays, Pixels
from sightbox.backends.telemetry import silenced
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.model import EXACT, Model, graph_file

with silenced():
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as states

QUIET = 3
"""ONNX Runtime's log level "error"; its warnings are about its own optimiser."""

VARIANTS = (EXACT, "int8")
"""The variants that it runs."""

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""The devices, with ONNX Runtime's names of what runs networks on them."""

_REMOTE = "AzureExecutionProvider"
"""It sends what it computes to a service, and is part of the usual build."""

_ERRORS = tuple(
    kind for kind in vars(states).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""The runtime's own errors have no common base but `Exception`."""


class OnnxRuntimeBackend:
    """Runs the model's ONNX graph. Outputs that are not asked for cost nothing measurable.

    Args:
        providers: What may run the network, by ONNX Runtime's own names, the most wanted first.
    """

    name = "onnxruntime"

    def __init__(self, providers: Sequence[str] = ("CPUExecutionProvider",)) -> None:
        self.variant = EXACT
        self._providers = tuple(providers)
        self._session: ort.InferenceSession | None = None

    def load(self, model: Model, threads: int, variant: str = EXACT, streams: int = 1) -> None:
        """Loads the graph. Each stream computes with its part of the threads.

        Raises:
            BackendNotAvailableError: The build has not these providers, or there is no such
                variant.
            BackendError: The runtime refuses the graph.
        """
        self._check(variant)
        graph = model.read(graph_file(variant))
        # Without effect if all went well: it quiets a runtime that was imported before Sightbox.
        ort.disable_telemetry_events()
        try:
            session = ort.InferenceSession(
                graph, _options(max(1, threads // streams)), providers=list(self._providers)
            )
        except _ERRORS as error:
            raise BackendError(
                f"ONNX Runtime refuses {model.card.name}: {_reason(error)}"
            ) from error
        used = session.get_providers()
        # It only warns when a provider cannot start, and then takes the processor.
        if used[0] != self._providers[0]:
            raise BackendNotAvailableError(
                f"{self._providers[0]} does not start on this machine.", f"{used[0]} does."
            )
        self._session, self.variant = session, variant

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch."""
        session = self._session
        if session is None:
            raise BackendError("The backend is not loaded.")
        try:
            arrays = session.run(list(outputs), {"images": images})
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime failed: {_reason(error)}") from error
        return dict(zip(outputs, arrays, strict=True))

    def close(self) -> None:
        """Drops the session."""
        self._session = None

    def _check(self, variant: str) -> None:
        if variant not in VARIANTS:
            raise BackendNotAvailableError(
                f"ONNX Runtime has no variant {variant!r}.", f"It has {' and '.join(VARIANTS)}."
            )
        here = [provider for provider in ort.get_available_providers() if provider != _REMOTE]
        absent = [provider for provider in self._providers if provider not in here]
        if absent or not self._providers:
            raise BackendNotAvailableError(
                f"The installed ONNX Runtime has no {', '.join(absent) or 'provider to use'}.",
                f"It has {', '.join(here)}.",
            )


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # Threads that spin while they wait take time from decoding. Measured on 2 cores, int8: alone,
    # spinning saves 4 to 11 %; beside two decoding threads it costs 24 to 74 %, and they get a
    # fifth to a quarter less done.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _reason(error: BaseException) -> str:
    """Returns the runtime's message without its "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : "."""
    return str(error).split(" : ", 3)[-1]


def create(device: str | None = None) -> OnnxRuntimeBackend:
    """Returns the backend for a device: one of `PROVIDERS`.

    Raises:
        BackendNotAvailableError: There is no such device.
    """
    provider = PROVIDERS.get(device or "cpu")
    if provider is None:
        raise BackendNotAvailableError(
            f"ONNX Runtime has no device {device!r}.", f"It can have {', '.join(PROVIDERS)}."
        )
    return OnnxRuntimeBackend([provider])
