"""The shape of the code: layers, light imports, and the house figures."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

import sightbox

SOURCE = Path(__file__).parents[1] / "src" / "sightbox"
MODULES = sorted(SOURCE.rglob("*.py"))

LAYERS = {
    0: (
        "errors",
        "settings",
        "settings_table",
        "settings_page",
        "machine",
        "filelock",
        "atomicfile",
        "patience",
        "tracing",
        "metrics",
        "logs",
        "offline",
        "integrity",
        "__init__",
    ),  # __init__: the version
    1: (
        "upright",
        "image",
        "preprocessing",
        "labels",
        "prediction",
        "drawing",
        "accuracy",
        "channels",
        "calibration",
        "temperature",
    ),
    2: (
        "safetensors",
        "checkpoint",
        "graphs",
        "model",
        "catalogue",
        "download",
        "archive",
        "store",
        "backends",
        "schema",
        "agreement",
        "quantization",
        "plan",
        "pictures",
        "labelled",
        "tables",
        "golden",
        "building",
    ),
    3: ("batching", "decoding", "explanation", "streaming", "classifier"),
    4: (
        "tuning",
        "opening",
        "verification",
        "wheels",
        "kit",
        "benchmark",
        "loadtest",
        "loadgen",
        "residents",
        "evaluation",
        "journal",
        "evaluation_page",
        "walkthrough",
    ),
    5: ("web", "cli", "__main__"),
}
LAYER = {part: layer for layer, parts in LAYERS.items() for part in parts}

ONLY_IN = {
    "onnxruntime": ("backends/onnxruntime.py", "quantization.py"),
    "openvino": ("backends/openvino.py",),
    "torch": ("backends/pytorch.py", "backends/cuda.py"),
    "torchvision": ("backends/pytorch.py",),
    "flask": ("web/",),
    "werkzeug": ("web/",),
    "waitress": ("web/",),
    "jinja2": ("evaluation_page.py", "benchmark/page.py", "benchmark/history.py"),
    "grpc": ("web/grpc_service.py", "web/grpc_limits.py", "web/grpc_client.py"),
    "google": (
        "graphs/stages.py",
        "graphs/work.py",
        "web/grpc_service.py",
        "web/grpc_client.py",
        "web/proto.py",
    ),
    "prometheus_client": ("metrics.py",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "pydantic": ("settings.py", "settings_table.py", "web/parameters.py"),
    "pydantic_core": ("settings.py", "settings_table.py", "web/parameters.py"),
    "pydantic_settings": ("settings.py", "settings_table.py"),
    "onnx": ("graphs/", "quantization.py"),
}


def _imports(path: Path) -> Iterator[str]:
    """Yields the dotted names that a module imports when it runs, not those for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _part(dotted: str) -> str | None:
    words = dotted.split(".")
    return words[1] if words[0] == "sightbox" and len(words) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_the_layers(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert own in LAYER, f"{own} has no layer yet"
    for dotted in _imports(path):
        part = _part(dotted)
        if part in LAYER and part not in {own, "__init__"}:
            assert LAYER[part] <= LAYER[own], f"{own} imports {part}"


def test_modules_of_one_layer_do_not_go_round_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        parts = {part for dotted in _imports(path) if (part := _part(dotted)) in LAYER}
        graph.setdefault(own, set()).update(parts - {own, "__init__"})
    resolved: set[str] = set()
    while ready := {part for part in graph.keys() - resolved if graph[part] <= resolved}:
        resolved |= ready
    assert not graph.keys() - resolved


@pytest.mark.parametrize(("library", "homes"), ONLY_IN.items())
def test_library_is_imported_in_its_own_place_only(library: str, homes: tuple[str, ...]) -> None:
    for path in MODULES:
        where = path.relative_to(SOURCE).as_posix()
        if not where.startswith(homes):
            assert library not in {dotted.split(".")[0] for dotted in _imports(path)}, where


def test_model_numbers_stand_in_the_card_alone() -> None:
    for path in MODULES:
        numbers = {
            node.value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
        }
        assert not numbers & {224, 0.485, 0.456, 0.406, 0.229}, path


IMPORT_IS_LIGHT = """
import logging, os, socket, sys, threading
environment = dict(os.environ)
handlers, level = list(logging.root.handlers), logging.root.level
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
import sightbox
assert sightbox.__version__
assert threading.active_count() == 1
assert dict(os.environ) == environment
assert (logging.root.handlers, logging.root.level) == (handlers, level)
assert not opened, opened
heavy = {"numpy", "PIL", "onnx", "onnxruntime", "openvino", "torch", "flask", "typer", "pydantic",
         "prometheus_client"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert {"Classifier", "Prediction", "Settings", "SightboxError"} < set(dir(sightbox))
from sightbox import Classifier
heavy = {"flask", "typer", "pydantic", "rich", "torch", "openvino", "prometheus_client"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert threading.active_count() == 1
assert (logging.root.handlers, logging.root.level) == (handlers, level)
assert not opened, opened
"""


def test_import_is_light_and_touches_nothing() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT_IS_LIGHT], check=True)


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nope"):
        _ = sightbox.nope


def test_house_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints the sizes of files and functions; only the hard limits fail."""
    files = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    functions = {
        f"{path.relative_to(SOURCE)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    sizes = sorted(functions.values())
    longest = max(functions, key=functions.__getitem__)
    with capsys.disabled():
        print(
            f"\n{len(files)} files, median {median(files.values()):.0f} lines, largest "
            f"{max(files.values())}; {len(sizes)} functions, median {median(sizes):.0f}, 90 % up "
            f"to {sizes[len(sizes) * 9 // 10]}, longest {functions[longest]} ({longest})"
        )
    assert max(files.values()) <= 400
    assert functions[longest] <= 60


def test_headings_of_the_changelog_go_down_and_start_with_this_version() -> None:
    text = (SOURCE.parents[1] / "CHANGELOG.md").read_text("utf-8")
    versions = [line.split()[1] for line in text.splitlines() if line.startswith("## ")]
    assert versions[0] == sightbox.__version__
    assert all(
        tuple(map(int, newer.split("."))) > tuple(map(int, older.split(".")))
        for newer, older in pairwise(versions)
    )
