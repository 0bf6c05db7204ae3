"""Our graphs against the networks they were made from, in PyTorch."""

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from reference.lite0 import EfficientNetLite0
from sightbox.catalogue import embedded_weights, known
from sightbox.checkpoint import read_checkpoint
from sightbox.errors import CheckpointError
from sightbox.graphs import ARCHITECTURES, Input, build_graph
from sightbox.graphs.builder import same_pads

OUTPUTS = ["logits", "features", "maps"]
TOLERANCE = 1e-4
"""Largest difference, as a part of the range of the reference."""

Arrays = Mapping[str, NDArray[np.generic]]


def _input(name: str) -> Input:
    card = known(name).card
    return Input(card.recipe.crop, card.mean, card.std)


def _seeded(network: torch.nn.Module) -> torch.nn.Module:
    """Gives every weight and every batch-norm statistic a value that is not trivial."""
    generator = torch.Generator().manual_seed(20)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
        elif isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, fan**-0.5, generator=generator)
    return network.eval()


def _state(network: torch.nn.Module) -> dict[str, NDArray[np.generic]]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def _pictures(count: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _normalized(pictures: NDArray[np.uint8], spec: Input) -> torch.Tensor:
    floats = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    normalize = torchvision.transforms.Normalize(spec.mean, spec.std)
    normalized: torch.Tensor = normalize(floats)
    return normalized


def _resnet_reference(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}
    network.get_submodule("layer4").register_forward_hook(
        lambda _module, _inputs, output: seen.update(maps=output)
    )
    network.get_submodule("avgpool").register_forward_hook(
        lambda _module, _inputs, output: seen.update(features=output.flatten(1))
    )
    with torch.inference_mode():
        logits = network(x)
    return [logits, seen["features"], seen["maps"]]


def _assert_close(ours: list[NDArray[np.float32]], theirs: list[torch.Tensor]) -> None:
    for name, mine, tensor in zip(OUTPUTS, ours, theirs, strict=True):
        reference = tensor.numpy()
        assert mine.shape == reference.shape, name
        difference = np.abs(mine - reference).max() / np.ptp(reference)
        assert difference <= TOLERANCE, f"{name}: {difference}"


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnet_equals_torchvision(name: str) -> None:
    network = _seeded(getattr(torchvision.models, name)(weights=None))
    spec = _input(name)
    graph, classes = build_graph(name, _state(network), spec)
    session = ort.InferenceSession(graph)
    assert classes == 1000
    for count in (1, 5):
        pictures = _pictures(count, spec.size)
        ours = session.run(OUTPUTS, {"images": pictures})
        _assert_close(ours, _resnet_reference(network, _normalized(pictures, spec)))


def test_resnet_of_another_size_and_class_count_equals_torchvision() -> None:
    network = _seeded(torchvision.models.resnet18(weights=None, num_classes=7))
    spec = Input(97, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    graph, classes = build_graph("resnet18", _state(network), spec)
    assert classes == 7
    pictures = _pictures(2, spec.size)
    ours = ort.InferenceSession(graph).run(OUTPUTS, {"images": pictures})
    _assert_close(ours, _resnet_reference(network, _normalized(pictures, spec)))


@pytest.mark.parametrize("count", [1, 5])
def test_efficientnet_lite0_equals_pytorch(count: int) -> None:
    state = read_checkpoint(embedded_weights(known("efficientnet-lite0")))
    network = EfficientNetLite0().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    spec = _input("efficientnet-lite0")
    graph, _ = build_graph("efficientnet-lite0", state, spec)
    pictures = _pictures(count, spec.size)
    ours = ort.InferenceSession(graph).run(OUTPUTS, {"images": pictures})
    with torch.inference_mode():
        _assert_close(ours, list(network(_normalized(pictures, spec))))


def test_half_precision_weights_build_a_float32_graph() -> None:
    network = _seeded(torchvision.models.resnet18(weights=None, num_classes=3))
    halves = {
        name: value.astype(np.float16) if value.dtype == np.float32 else value
        for name, value in _state(network).items()
    }
    graph, _ = build_graph("resnet18", halves, _input("resnet18"))
    logits = ort.InferenceSession(graph).run(["logits"], {"images": _pictures(1, 224)})[0]
    assert logits.dtype == np.float32


def test_weights_that_do_not_fit_are_all_named() -> None:
    state = _state(torchvision.models.resnet18(weights=None))
    del state["layer2.0.conv1.weight"], state["bn1.running_var"]
    state["layer3.1.bn2.bias"] = np.zeros(5, np.float32)
    state["head.weight"] = np.zeros(1, np.float32)
    with pytest.raises(CheckpointError) as caught:
        build_graph("resnet18", state, _input("resnet18"))
    told = str(caught.value)
    assert "missing: bn1.running_var, layer2.0.conv1.weight" in told
    assert "wrong shape: layer3.1.bn2.bias is [5], not [256]" in told
    assert "not part of it: head.weight" in told


def test_weights_of_another_network_are_refused() -> None:
    state = _state(torchvision.models.resnet34(weights=None))
    with pytest.raises(CheckpointError, match="and 88 more"):
        build_graph("resnet18", state, _input("resnet18"))


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'vgg16' is unknown"):
        build_graph("vgg16", {}, _input("resnet18"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_empty_weights_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        build_graph(name, {}, _input(name))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [(224, 3, 2, (0, 1)), (112, 5, 2, (1, 2)), (7, 5, 1, (2, 2)), (225, 3, 2, (1, 1))],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    assert same_pads(size, kernel, stride) == pads
