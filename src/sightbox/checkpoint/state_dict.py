"""Finds the state dict in what a checkpoint holds."""

from collections.abc import Mapping
from typing import TypeVar

from sightbox.checkpoint.tensors import ONLY_WEIGHTS, Tensor
from sightbox.errors import CheckpointError
from sightbox.safetensors import shown

# Where training scripts put the weights among epoch, optimizer and the like: torchvision's
# references write "model", most others "state_dict".
_HOMES = ("state_dict", "model")
_PARALLEL_PREFIX = "module."  # put before every name by torch's DataParallel

T = TypeVar("T")


def find_state_dict(root: object) -> dict[str, Tensor]:
    """Return the tensors by name, from a state dict or a training checkpoint that holds one.

    Raises:
        CheckpointError: There is no state dict, or something in it is no tensor.
    """
    if not isinstance(root, dict):
        raise CheckpointError(
            f"The file holds an object of type {type(root).__name__}, not a state dict.",
            ONLY_WEIGHTS,
        )
    inner = [root[home] for home in _HOMES if isinstance(root.get(home), dict)]
    entries = inner[0] if inner else root
    return {_checked_name(name): _checked_leaf(name, leaf) for name, leaf in entries.items()}


def without_prefix(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return the same tensors without DataParallel's ``module.``, if all names begin with it."""
    if not all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise CheckpointError(f"The state dict has the number {name} as a name.", ONLY_WEIGHTS)
    return name


def _checked_leaf(name: object, leaf: object) -> Tensor:
    if not isinstance(leaf, Tensor):
        raise CheckpointError(
            f"The entry {shown(str(name))} is of type {type(leaf).__name__}, not a tensor.",
            ONLY_WEIGHTS,
        )
    return leaf
