"""``sightbox info``: what is installed, what this machine is, where things are."""

import platform
from importlib.metadata import PackageNotFoundError, version

import sightbox
from sightbox.backends import BACKENDS
from sightbox.cli.screen import console, print_rows, to_json
from sightbox.machine import instruction_sets, processor_name, usable_cores
from sightbox.schema import Json
from sightbox.settings import config_path, load_settings
from sightbox.store import Store

PACKAGES = ("numpy", "pillow", "onnx", "onnxruntime", "openvino", "torch")


def run(*, as_json: bool) -> None:
    """Prints it."""
    found = collect()
    if as_json:
        print(to_json(found, indent=2))  # noqa: T201
        return
    print_rows(console(), [(name, _in_words(value)) for name, value in found.items()])


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
