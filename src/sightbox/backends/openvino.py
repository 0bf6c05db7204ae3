"""OpenVINO: on the processor, or on a GPU or NPU of Intel's that is named.

OpenVINO has a mode for latency and one for throughput (``PERFORMANCE_HINT``). On the processor they
stand for two numbers, and Sightbox sets these: latency is one stream with all threads, throughput
is more streams that share the threads. How many are best is measured (`sightbox.tuning`) and not
left to OpenVINO's rule of thumb; the setting ``goal`` chooses between what was measured,
``streams`` decides by hand.

Tests cover the processor alone, and ``AUTO`` between the processor and itself; for the other
devices the choice and the refusal of an absent one are tested. No such device was available.
"""

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sightbox.backends import Arrays, Pixels
from sightbox.backends.blobs import BlobFolder
from sightbox.backends.openvino_devices import choose_devices, device_config
from sightbox.backends.telemetry import silenced
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.machine import BF16_SETS, instruction_sets, processor_name
from sightbox.model import EXACT, Model, graph_file

with silenced():
    import openvino as ov

VARIANTS = {EXACT: "f32", "bf16": "bf16", "int8": "f32"}
"""The variants that it runs, each with the precision of what is not quantised in its graph."""

CACHE = "compiled"
"""Folder of the compiled networks in that of the model."""

logger = logging.getLogger(__name__)


class _Form(NamedTuple):
    """One way to compile a network: what is fixed beforehand costs nothing at each call.

    Attributes:
        name: Names the form in the cache.
        batch: The only batch size it takes; None for any.
        outputs: Names of its outputs.
    """

    name: str
    batch: int | None
    outputs: tuple[str, ...]


# A fixed batch takes up to 10 % less time than a free one, most for one picture in a small network.
# That is the case where somebody waits for the answer; each form more costs memory.
_ONE = _Form("one", 1, ("logits",))
_ANY = _Form("any", None, ("logits",))
_FULL = _Form("full", None, ("logits", "features", "maps"))


class OpenVinoBackend:
    """Runs the model's ONNX graph; what a call needs is compiled when it is first needed.

    Args:
        cache: Folder where compiled networks are kept for the next start; beside the model's files
            when not given, so that they go with the model. A model in memory keeps none then.
        device: ``CPU``, another device that OpenVINO finds here, such as ``GPU``, or several for
            OpenVINO to choose from, such as ``AUTO:GPU,CPU``; see `choose_devices`.
    """

    name = "openvino"

    def __init__(self, cache: Path | None = None, device: str = "CPU") -> None:
        self.variant = EXACT
        self._cache = cache
        self._device = device
        self._network: _Network | None = None

    def load(self, model: Model, threads: int, variant: str = EXACT, streams: int = 1) -> None:
        """Compiles the network. More callers than streams wait for their turn.

        Raises:
            BackendNotAvailableError: The device or the variant is not available here.
            BackendError: OpenVINO refuses the graph.
        """
        try:
            core = ov.Core()
            device = _Device(core, choose_devices(self._device, core.available_devices))
            _check(device.names, variant)
            device.configure(threads, VARIANTS[variant], streams)
            network = _Network(model, variant, device, streams, self._blobs(model))
            for form in network.usual:
                network.form(form)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO refuses {model.card.name}: {_reason(error)}") from error
        self._network, self.variant = network, variant

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch. The arrays are the caller's own."""
        network = self._network
        if network is None:
            raise BackendError("The backend is not loaded.")
        try:
            return network.run(images, outputs)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed: {_reason(error)}") from error

    def close(self) -> None:
        """Drops the network; calls that run are finished."""
        self._network = None

    def _blobs(self, model: Model) -> BlobFolder | None:
        if self._cache is not None:
            return BlobFolder(self._cache)
        return BlobFolder(model.folder / CACHE) if model.folder is not None else None


class _Device:
    """Where networks are compiled, and with which settings.

    Attributes:
        name: What OpenVINO calls it: one device, or AUTO with several to choose from.
    """

    def __init__(self, core: ov.Core, names: Sequence[str]) -> None:
        self.core = core
        self.names = tuple(names)
        self.name = self.names[0] if len(self.names) == 1 else f"AUTO:{','.join(self.names)}"
        self._config: dict[str, Any] = {}

    def configure(self, threads: int, precision: str, streams: int) -> None:
        """Sets how many threads and streams there are, and what they compute in."""
        self._config = device_config(self.names, threads, precision, streams)

    def compile(self, graph: ov.Model) -> ov.CompiledModel:
        """Compiles a network."""
        return self.core.compile_model(graph, self.name, self._config)

    def restore(self, blob: bytes) -> ov.CompiledModel:
        """Loads a network that was compiled before."""
        return self.core.import_model(blob, self.name, self._config)

    def circumstances(self) -> str:
        """Tells all of the device that a compiled network depends on."""
        told = [
            self.core.get_property(self.name, key)
            for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
        ]
        machine = (processor_name(), instruction_sets())
        return repr((ov.get_version(), told, machine, sorted(self._config.items())))

    def keeps(self) -> bool:
        """Tells whether the device can export what it compiled; AUTO cannot."""
        return len(self.names) == 1 and "EXPORT_IMPORT" in self.core.get_property(
            self.name, "OPTIMIZATION_CAPABILITIES"
        )


class _Compiled:
    """One compiled form, with the requests that nobody uses at the moment.

    A request holds the memory of one running batch. They are made as they are needed, and the
    one that was used last, whose memory is warm, is used first.
    """

    def __init__(self, compiled: ov.CompiledModel) -> None:
        self._compiled = compiled
        self._places = {
            name: place for place, port in enumerate(compiled.outputs) for name in port.get_names()
        }
        self._idle: list[ov.InferRequest] = []

    def run(self, images: Pixels, outputs: Sequence[str]) -> Arrays:
        """Runs a batch without copying it, and returns copies of the arrays asked for."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # Not `infer`, which spends 40 us more of Python on finding out what it was given.
        # The tensor has no memory of its own: it reads that of the array.
        batch = np.require(images, requirements=("C", "W"))
        request.set_input_tensor(ov.Tensor(batch, shared_memory=True))
        request.start_async()
        request.wait()
        arrays = {
            name: np.array(request.get_output_tensor(self._places[name]).data) for name in outputs
        }
        self._idle.append(request)
        return arrays


class _Network:
    """A network and those forms of it that were needed so far.

    Attributes:
        usual: The forms that are needed at once. One for a single picture is worth its 30 MB where
            each batch has all threads; several streams are for those who want many answers.
    """

    def __init__(
        self, model: Model, variant: str, device: _Device, streams: int, blobs: BlobFolder | None
    ) -> None:
        self._model = model
        self._variant = variant
        self._device = device
        self._blobs = blobs if device.keeps() else None
        self.usual = (_ONE, _ANY) if streams == 1 else (_ANY,)
        self._turns = threading.BoundedSemaphore(streams)
        self._compiling = threading.Lock()
        self._forms: dict[_Form, _Compiled] = {}

    def run(self, images: Pixels, outputs: Sequence[str]) -> Arrays:
        """Runs a batch when it is its turn."""
        form = _fitting(len(images), outputs)
        if form is _ONE and form not in self.usual:
            form = _ANY
        with self._turns:
            return self.form(form).run(images, outputs)

    def form(self, form: _Form) -> _Compiled:
        """Returns a form of the network, compiled now or before."""
        if form not in self._forms:
            with self._compiling:
                if form not in self._forms:
                    self._forms[form] = _Compiled(self._kept_or_compiled(form))
        return self._forms[form]

    def _kept_or_compiled(self, form: _Form) -> ov.CompiledModel:
        if self._blobs is None:
            return self._compile(form)
        file = f"{self._model.card.name}.{self._variant}.{form.name}.{self._device.name}.blob"
        source = self._model.card.files.get(graph_file(self._variant))
        circumstances = f"{source} {self._device.circumstances()}"
        blob = self._blobs.read(file, circumstances)
        if blob is not None:
            try:
                return self._device.restore(blob)
            except RuntimeError as error:
                logger.info("A kept network is compiled anew: %s", _reason(error))
        compiled = self._compile(form)
        self._blobs.write(file, circumstances, compiled.export_model().getvalue())
        return compiled

    def _compile(self, form: _Form) -> ov.CompiledModel:
        graph = self._device.core.read_model(self._model.read(graph_file(self._variant)))
        wanted = [
            result
            for result in graph.get_results()
            if result.output(0).get_names() & set(form.outputs)
        ]
        cut = ov.Model(wanted, graph.get_parameters(), self._model.card.name)
        if form.batch is not None:
            _, *picture = cut.input(0).get_partial_shape()
            cut.reshape([form.batch, *picture])
        return self._device.compile(cut)


def _fitting(count: int, outputs: Sequence[str]) -> _Form:
    if not set(outputs) <= set(_FULL.outputs):
        raise BackendError(
            f"The network has no outputs {list(outputs)}.", f"It has {', '.join(_FULL.outputs)}."
        )
    if set(outputs) <= set(_ANY.outputs):
        return _ONE if count == 1 else _ANY
    return _FULL


def _check(devices: Sequence[str], variant: str) -> None:
    if variant not in VARIANTS:
        raise BackendNotAvailableError(
            f"OpenVINO has no variant {variant!r}.", f"It has {', '.join(VARIANTS)}."
        )
    on_processor = set(devices) == {"CPU"}
    if variant == "bf16" and not (on_processor and BF16_SETS & set(instruction_sets())):
        raise BackendNotAvailableError(
            "The variant bf16 needs a processor with avx512_bf16 or amx_bf16.",
            "Use fp32 or int8.",
        )


def _reason(error: RuntimeError) -> str:
    """Returns the last line of OpenVINO's error; those before it are places in its source."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "it gives no reason"


def create(device: str | None = None) -> OpenVinoBackend:
    """Returns the backend for a device, in OpenVINO's own spelling; see `choose_devices`."""
    return OpenVinoBackend(device=(device or "CPU").upper())
