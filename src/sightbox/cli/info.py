"""``sightbox info``: what is installed, what this machine is, where things are."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

import sightbox
from sightbox.backends import BACKENDS
from sightbox.cli.output import console
from sightbox.machine import instruction_sets, processor_name, usable_cores
from sightbox.schema import Json
from sightbox.settings import config_path, load_settings
from sightbox.store import Store

PACKAGES = ("numpy", "pillow", "onnx", "onnxruntime", "openvino", "torch")


def run(*, as_json: bool) -> None:
    """Prints it."""
    found = collect()
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))  # noqa: T201
        return
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        table.add_row(name, _in_words(value))
    console().print(table)


def collect() -> Json:
    """Returns all of it as JSON values."""
    settings = load_settings()
    store = Store(settings.home)
    return {
        "sightbox": sightbox.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor_name(),
        "instruction sets": list(instruction_sets()),
        "usable cores": usable_cores(),
        "backends": list(BACKENDS),
        "packages": {name: _version(name) for name in PACKAGES},
        "models": store.names(),
        "default model": settings.model or store.default_name(),
        "home": str(store.home),
        "settings file": str(config_path()),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {text or 'not installed'}" for name, text in value.items())
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)
