"""PyTorch: torchvision's own networks with the model's stored weights (extra ``[torch]``).

It is the reference that the other backends are measured against, and the way to a GPU of NVIDIA's
or Apple's. Pixels reach the device as uint8 and are normalised there.

Tests run it on the processor. Of ``cuda`` and ``mps`` they cover the choice and the refusal of an
absent device, not the computation, for none was available; of ``cuda`` also the order of what is
copied, recorded and replayed (`sightbox.backends.cuda`). ``compile`` is tested without its code
generator, which takes a minute and a C++ compiler.
"""

import io
import threading
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torchvision

from sightbox.backends import Arrays, Pixels
from sightbox.backends.cuda import Accelerator, Conveyor, Outputs, Run, accelerator_of, fetch
from sightbox.errors import BackendError, BackendNotAvailableError
from sightbox.model import EXACT, WEIGHTS, Card, Model
from sightbox.safetensors import load_safetensors

ARCHITECTURES = ("resnet18", "resnet34", "resnet50")
"""The networks that Sightbox and torchvision both have."""

DEVICES: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}
"""Whether each device is here, the fastest first."""

MODES = ("eager", "script", "trace", "compile")
"""How a network is run: as Python, as TorchScript made from its source or from a run, compiled."""

PRECISIONS = {EXACT: torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What each variant computes convolutions and products in (torch.autocast)."""

OUTPUTS = ("logits", "features", "maps")
"""What a network gives, in this order."""

TOLERANCES = {EXACT: 1e-3, "bf16": 0.1, "fp16": 0.02}
"""How far a transformed network may be off, as a part of the logits' range."""


class PyTorchBackend:
    """Runs a ResNet in PyTorch, one batch at a time.

    Args:
        device: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the fastest that is here.
        mode: One of `MODES`.
        inference_mode: Whether to leave out what only training needs. False is for measuring.
        channels_last: Whether pixels stay together in memory. False is for measuring.
        graphs: Whether usual batch sizes are recorded as CUDA graphs. False is for measuring, and
            so without effect where `inference_mode` is False, whose cost a graph would hide.
        accelerator: What copies to the device and records graphs; CUDA's own when not given.
    """

    name = "pytorch"

    def __init__(
        self,
        device: str = "auto",
        mode: str = "eager",
        *,
        inference_mode: bool = True,
        channels_last: bool = True,
        graphs: bool = True,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.variant = EXACT
        self._wanted = device
        self._mode = mode
        self._inference_mode = inference_mode
        self._channels_last = channels_last
        self._graphs = graphs and inference_mode
        self._accelerator = accelerator
        self._device = torch.device("cpu")
        self._picture: tuple[int, ...] = ()
        self._network: Run | None = None
        self._conveyor: Conveyor | None = None
        self._turn = threading.Lock()

    def load(
        self,
        model: Model,
        threads: int,
        variant: str = EXACT,
        streams: int = 1,  # noqa: ARG002 - one batch at a time, with all threads
    ) -> None:
        """Builds the network; `threads` becomes the number of threads of torch in this process.

        Convolutions in this process are no longer rounded (TF32), for fp32 is to be exact.

        Raises:
            BackendNotAvailableError: torchvision has no such network, the device is absent, or
                the mode or the variant is unknown or not for this device.
            BackendError: The weights do not fit, or the transformed network answers otherwise.
        """
        self._device = torch.device(choose_device(self._wanted))
        _check(model.card.architecture, self._mode, variant, self._device.type)
        torch.set_num_threads(threads)
        # A GPU would round the factors of convolutions to 10 bits of fraction (TF32).
        torch.backends.cudnn.allow_tf32 = False
        try:
            network = self._build(model)
            run = self._transform(network, variant, _drawn(model.card).to(self._device))
        except RuntimeError as error:
            raise BackendError(f"PyTorch refuses {model.card.name}: {error}") from error
        with self._turn:
            self._free()
            self._picture, self.variant = _picture(model.card), variant
            self._network = run
            accelerator = self._accelerator or accelerator_of(self._device)
            if accelerator is not None:
                self._conveyor = Conveyor(run, accelerator, graphs=self._graphs)

    def run(self, images: Pixels, outputs: Sequence[str] = ("logits",)) -> Arrays:
        """Runs a batch. The arrays are the caller's own."""
        try:
            with self._turn:
                tensors = dict(zip(OUTPUTS, self._compute(images), strict=True))
                return {name: fetch(tensors[name]) for name in outputs}
        except RuntimeError as error:
            raise BackendError(f"PyTorch failed: {error}") from error
        except KeyError as error:
            raise BackendError(f"The network has no output {error}.") from error

    def close(self) -> None:
        """Frees the network, its graphs and its buffers, after a batch that runs."""
        with self._turn:
            self._free()

    def _free(self) -> None:
        self._network = None
        if self._conveyor is not None:
            self._conveyor.close()
            self._conveyor = None

    def _compute(self, images: Pixels) -> Outputs:
        if self._network is None:
            raise BackendError("The backend is not loaded.")
        if images.dtype != np.uint8 or images.shape[1:] != self._picture:
            raise BackendError(
                f"PyTorch failed: the pixels are {images.dtype} {list(images.shape)}.",
                f"The network takes uint8 [N, {', '.join(map(str, self._picture))}].",
            )
        if self._conveyor is not None:
            return self._conveyor.run(images)
        batch = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        return self._network(batch.to(self._device))

    def _build(self, model: Model) -> "_Network":
        card = model.card
        network = torchvision.models.get_model(
            card.architecture, weights=None, num_classes=card.classes
        )
        arrays = load_safetensors(model.read(WEIGHTS))
        network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        whole = _Network(network, card, channels_last=self._channels_last).eval()
        return whole.to(self._device).to(memory_format=layout)

    def _transform(self, network: "_Network", variant: str, example: torch.Tensor) -> Run:
        """Returns the network in its mode, after it answered as the eager one does."""
        eager = self._in_context(network, variant)
        if self._mode == "eager":
            return eager
        if self._mode == "compile":
            # The batch size changes from call to call.
            changed = self._in_context(torch.compile(network, dynamic=True), variant)
        else:
            changed = self._in_context(self._torchscript(network, variant, example), variant)
        expected = fetch(eager(example)[0])
        part = float(np.abs(fetch(changed(example)[0]) - expected).max() / np.ptp(expected))
        if not part <= TOLERANCES[variant]:
            raise BackendError(f"The mode {self._mode} changes the logits by {part:.1%}.")
        return changed

    def _in_context(self, network: Run, variant: str) -> Run:
        """Returns what runs the network without gradients and in the variant's precision."""
        kind, inference = self._device.type, self._inference_mode
        precision = PRECISIONS[variant]
        casts = precision != torch.float32

        def run(batch: torch.Tensor) -> Outputs:
            # Each weight is used once a run; and a cache that outlives it would spoil a CUDA graph.
            cast = torch.autocast(
                kind, precision if casts else None, enabled=casts, cache_enabled=False
            )
            with torch.inference_mode(inference), cast:
                return network(batch)

        return run

    def _torchscript(self, network: "_Network", variant: str, example: torch.Tensor) -> Run:
        """Returns the network as TorchScript that was saved and loaded, as for another program."""
        with warnings.catch_warnings(), torch.inference_mode():
            # PyTorch 2.14 calls all of TorchScript deprecated; it is offered to be compared.
            warnings.simplefilter("ignore", FutureWarning)
            if self._mode == "script":
                script = torch.jit.script(network)
            else:
                script = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch's
                    network, example, check_trace=False
                )
            file = io.BytesIO()
            torch.jit.save(script, file)
            file.seek(0)
            loaded = torch.jit.load(file, self._device)  # type: ignore[no-untyped-call]  # torch's
            # Optimised, it would not be cast any more; it is made for the processor.
            if variant == EXACT and self._device.type == "cpu":
                loaded = torch.jit.optimize_for_inference(loaded)
        run: Run = loaded
        return run


class _Network(torch.nn.Module):
    """A ResNet of torchvision's that takes uint8 pixels [N, H, W, 3] and gives all outputs."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: torch.nn.Module, card: Card, *, channels_last: bool) -> None:
        super().__init__()
        mean, std = (torch.tensor(v, dtype=torch.float64) for v in (card.mean, card.std))
        # (x / 255 - mean) / std as one multiplication, as in our graphs.
        self.register_buffer("scale", (1 / (255 * std)).float().view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(1, -1, 1, 1))
        *trunk, self.pool, self.fc = network.children()
        self.trunk = torch.nn.Sequential(*trunk)
        self.channels_last = channels_last

    def forward(self, images: torch.Tensor) -> Outputs:
        """Returns logits, features and maps."""
        planes = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        if not self.channels_last:
            planes = planes.contiguous()
        maps = self.trunk(planes)
        features = torch.flatten(self.pool(maps), 1)
        return self.fc(features), features, maps


def choose_device(wanted: str) -> str:
    """Returns the device to use.

    Args:
        wanted: ``auto`` or one of `DEVICES`.

    Raises:
        BackendNotAvailableError: The device is unknown or not here.
    """
    here = [device for device, is_here in DEVICES.items() if is_here()]
    if wanted == "auto":
        return here[0]
    if wanted not in DEVICES:
        raise BackendNotAvailableError(
            f"There is no device {wanted!r}.", f"There are {', '.join(DEVICES)} and auto."
        )
    if wanted not in here:
        raise BackendNotAvailableError(
            f"PyTorch finds no device {wanted!r} here.", f"It finds {', '.join(here)}."
        )
    return wanted


def _check(architecture: str, mode: str, variant: str, device: str) -> None:
    if architecture not in ARCHITECTURES:
        raise BackendNotAvailableError(
            f"torchvision has no network {architecture}.", "Use another backend for this model."
        )
    if mode not in MODES:
        raise BackendNotAvailableError(
            f"PyTorch has no mode {mode!r}.", f"It has {', '.join(MODES)}."
        )
    if variant not in PRECISIONS:
        raise BackendNotAvailableError(
            f"PyTorch has no variant {variant!r}.", f"It has {', '.join(PRECISIONS)}."
        )
    if variant == "fp16" and device == "cpu":
        raise BackendNotAvailableError(
            "The variant fp16 is for cuda and mps; a processor takes 4 times as long as with fp32.",
            "Use fp32 or bf16.",
        )


def _picture(card: Card) -> tuple[int, int, int]:
    """Returns height, width and channels of the pictures that the network takes."""
    return card.recipe.crop, card.recipe.crop, len(card.mean)


def _drawn(card: Card) -> torch.Tensor:
    """Returns two drawn pictures, uint8 [2, H, W, 3], to try a network with."""
    side, _, channels = _picture(card)
    ramp = torch.linspace(0, 255, side).to(torch.uint8).view(1, 1, side, 1)
    across = ramp.expand(1, side, side, channels)
    return torch.cat([across, across.transpose(1, 2)])


def create(device: str | None = None) -> PyTorchBackend:
    """Returns the backend for a device: ``auto`` or one of `DEVICES`."""
    return PyTorchBackend(device or "auto")
