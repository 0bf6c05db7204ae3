"""``sightbox info``: what is installed, what this machine is, where things are."""

import platform
from importlib.metadata import PackageNotFoundError, version

import sightbox
from sightbox.backends import BACKENDS
from sightbox.cli.plans import HEADINGS, table, table_to_json
from sightbox.cli.screen import console, print_rows, to_json
from sightbox.machine import instruction_sets, processor_name, usable_cores
from sightbox.plan import advice, load_tuning
from sightbox.schema import Json
from sightbox.settings import load_settings
from sightbox.settings_table import config_path
from sightbox.store import Store

PACKAGES = ("numpy", "pillow", "onnx", "onnxruntime", "openvino", "torch")


def run(*, as_json: bool) -> None:
    """Prints it."""
    settings = load_settings()
    store = Store(settings.home)
    name = settings.model or store.default_name()
    model = store.find(name)
    found = collect(store) | {
        "default model": name,
        "tuned": "no" if model is None else advice(model) or "yes",
    }
    tuning = load_tuning(model) if model is not None else None
    if as_json:
        rows = [] if tuning is None else table_to_json(tuning, settings.least_agreement)
        print(to_json(found | {"tuning": rows}, indent=2))  # noqa: T201
        return
    screen = console()
    print_rows(screen, [(name, _in_words(value)) for name, value in found.items()])
    if tuning is not None:
        screen.print("\nMeasured here:")
        print_rows(screen, table(tuning, settings.least_agreement), HEADINGS)


def collect(store: Store) -> Json:
    """Returns what is installed and what this machine is, by name."""
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
