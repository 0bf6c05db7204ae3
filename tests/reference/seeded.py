"""A small ResNet-18 with seeded weights: torchvision's network, and the model made from it."""

import io
from dataclasses import replace

import numpy as np
import torch
import torchvision

from sightbox.backends import Pixels
from sightbox.catalogue import known
from sightbox.graphs import Input, build_graph
from sightbox.model import GRAPH, WEIGHTS, Model, seal
from sightbox.safetensors import save_safetensors

SIDE = 40
CLASSES = 10


def seeded_resnet18() -> torch.nn.Module:
    """Returns torchvision's network; no batch norm's statistics are trivial."""
    network: torch.nn.Module = torchvision.models.resnet18(weights=None, num_classes=CLASSES)
    generator = torch.Generator().manual_seed(18)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if tensor.ndim > 1:
                tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def model_of(network: torch.nn.Module, **files: bytes) -> Model:
    """Returns a model in memory with the network's weights and graph, and more files."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    known_card = known("resnet18").card
    recipe = replace(known_card.recipe, resize=SIDE, crop=SIDE)
    card = replace(known_card, recipe=recipe, classes=CLASSES, labels=None)
    weights = io.BytesIO()
    save_safetensors(weights, state)
    graph, _ = build_graph("resnet18", state, Input(SIDE, card.mean, card.std))
    return seal(card, {GRAPH: graph, WEIGHTS: weights.getvalue(), **files})


def noise(model: Model, count: int, seed: int = 0) -> Pixels:
    """Returns `count` pictures of the model's size, uint8 [N, H, W, 3]."""
    side = model.card.recipe.crop
    generator = np.random.default_rng((seed, count))
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
