"""A model in memory of a card and weights: its graph is built, and its files are sealed."""

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sightbox.model import GRAPH, WEIGHTS, Card, Model, seal
from sightbox.safetensors import save_safetensors


def build_model(card: Card, state: Mapping[str, NDArray[np.generic]]) -> Model:
    """Makes a model in memory of a card and a state dict.

    Raises:
        CheckpointError: The weights do not fit the card's network.
    """
    # It loads onnx, 0.2 s that the start with a prepared model need not wait for.
    from sightbox.graphs import Input, build_graph  # noqa: PLC0415

    spec = Input(card.recipe.crop, card.mean, card.std)
    graph, classes = build_graph(card.architecture, state, spec)
    card = replace(card, classes=classes)
    card.load_labels()
    stored = io.BytesIO()
    save_safetensors(stored, state)
    return seal(card, {WEIGHTS: stored.getvalue(), GRAPH: graph})
