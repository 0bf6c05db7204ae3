"""ONNX Runtime: the default backend, on the processor or on what its installed build supports.

A call can be plain, or bound to buffers that are allocated once (io-binding). On the processor a
plain call copies nothing either: it reads the caller's pixels, and hands out the memory that it
wrote. Binding costs 0.03 ms more there, a graph of no work taking 0.01 ms plain and 0.04 ms bound
(measured on 2 cores, version 1.32); so calls are bound where another device computes.

Tests cover the processor alone, bound calls included; of the other providers they cover the refusal
of an absent one. No such device was available.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sightbox.backends import Arrays, Pixels
from sightbox.backends.telemetry import silenced
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.model import EXACT, Model, graph_file

with silenced():
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as states

INPUT = "images"
"""Name of the graph's input."""

QUIET = 3
"""ONNX Runtime's log level "error"; its warnings are about its own optimiser."""

VARIANTS = (EXACT, "int8")
"""The variants that it runs."""

CPU = "CPUExecutionProvider"

PROVIDERS = {
    "cpu": CPU,
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

_FAILURES: tuple[type[Exception], ...] = (*_ERRORS, RuntimeError)
"""Of a run; a bound one that fails is a plain RuntimeError, ``Error in execution: …``."""


class OnnxRuntimeBackend:
    """Runs the model's ONNX graph. Outputs that are not asked for cost nothing measurable.

    Args:
        providers: What may run the network, by ONNX Runtime's own names, the most wanted first.
        bound: Whether calls are bound to buffers that stay; unless given, all but on the processor.
    """

    name = "onnxruntime"

    def __init__(self, providers: Sequence[str] = (CPU,), *, bound: bool | None = None) -> None:
        self.variant = EXACT
        self._providers = tuple(providers)
        self._bound = self._providers[:1] != (CPU,) if bound is None else bound
        self._network: _Plain | _Bound | None = None

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
        self._network = _Bound(session) if self._bound else _Plain(session)
        self.variant = variant

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch. The arrays are the caller's own."""
        network = self._network
        if network is None:
            raise BackendError("The backend is not loaded.")
        try:
            return network.run(images, outputs)
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime failed: {_reason(error)}") from error

    def close(self) -> None:
        """Drops the session; calls that run are finished."""
        self._network = None

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


class GraphSession:
    """Runs a graph of any kind on the processor: see `sightbox.backends.Session`.

    Args:
        graph: A serialised ONNX model.
        threads: Threads that compute, at least 1.

    Raises:
        BackendError: The runtime refuses the graph.
    """

    def __init__(self, graph: bytes, threads: int) -> None:
        ort.disable_telemetry_events()
        try:
            self._session = ort.InferenceSession(graph, _options(threads), providers=[CPU])
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime refuses the graph: {_reason(error)}") from error

    def run(self, inputs: Mapping[str, NDArray[np.generic]], outputs: Sequence[str]) -> Arrays:
        """Runs the graph. The arrays are the caller's own."""
        try:
            arrays = self._session.run(list(outputs), dict(inputs))
        except _FAILURES as error:
            raise BackendError(f"ONNX Runtime failed: {_reason(error)}") from error
        return dict(zip(outputs, arrays, strict=True))


class _Plain:
    """Runs batches in memory that ONNX Runtime allocates for each of them."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session

    def run(self, images: Pixels, outputs: Sequence[str]) -> Arrays:
        """Runs a batch."""
        arrays = self._session.run(list(outputs), {INPUT: images})
        return dict(zip(outputs, arrays, strict=True))


class _Bound:
    """Runs batches in buffers that stay: one set for each call that runs at the same time.

    A set grows to the largest batch that it has seen. The one that was used last, whose memory is
    warm, is used first; one that failed is dropped.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._shapes: dict[str, list[int]] = {
            output.name: output.shape[1:] for output in session.get_outputs()
        }
        self._idle: list[_Buffers] = []

    def run(self, images: Pixels, outputs: Sequence[str]) -> Arrays:
        """Runs a batch from the caller's pixels, and returns copies of the arrays asked for."""
        unknown = set(outputs) - self._shapes.keys()
        if unknown:
            raise BackendError(
                f"The network has no outputs {sorted(unknown)}.",
                f"It has {', '.join(self._shapes)}.",
            )
        try:
            buffers = self._idle.pop()
        except IndexError:
            buffers = _Buffers(self._session, self._shapes)
        arrays = buffers.run(np.ascontiguousarray(images), outputs)
        self._idle.append(buffers)
        return arrays


class _Buffers:
    """A binding and the arrays that it writes to."""

    def __init__(self, session: ort.InferenceSession, shapes: dict[str, list[int]]) -> None:
        self._session, self._shapes = session, shapes
        self._binding = session.io_binding()
        self._arrays: Arrays = {}

    def run(self, images: Pixels, outputs: Sequence[str]) -> Arrays:
        """Runs a batch; `images` is contiguous."""
        binding, count = self._binding, len(images)
        binding.bind_input(INPUT, "cpu", 0, images.dtype.type, images.shape, images.ctypes.data)
        binding.clear_binding_outputs()
        for name in outputs:
            array = self._room(name, count)
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        # Bound memory is copied to and from another device in the background.
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return {name: self._room(name, count).copy() for name in outputs}

    def _room(self, name: str, count: int) -> NDArray[np.float32]:
        """Returns where an output of `count` pictures is written."""
        array = self._arrays.get(name)
        if array is None or len(array) < count:
            array = self._arrays[name] = np.empty((count, *self._shapes[name]), np.float32)
        return array[:count]


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
    return str(error).split(" : ", 3)[-1].removeprefix("Error in execution: ")


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
