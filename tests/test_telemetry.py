"""The runtimes call nobody, in Python or natively, and leave nothing in the user's folders."""

import ast
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sightbox.backends.telemetry import silenced

SOURCE = Path(__file__).parents[1] / "src" / "sightbox"

RECOGNISE = """
import os, sys
from pathlib import Path
seen = []
WATCHED = ("socket.", "os.fork", "os.posix_spawn", "os.exec", "subprocess.", "urllib.")
def watch(event, arguments):
    if event.startswith(WATCHED):
        seen.append(event)
sys.addaudithook(watch)
import numpy as np
from importlib import import_module
from sightbox.store import Store
model = Store(Path(sys.argv[1])).open()
side = model.card.recipe.crop
for name in sys.argv[2:]:
    backend = import_module(f"sightbox.backends.{name}").create()
    backend.load(model, 2)
    backend.run(np.zeros((1, side, side, 3), np.uint8), ("logits", "maps"))
    backend.close()
assert not seen, seen
assert "openvino_telemetry" not in sys.modules
"""


def _environment(folder: Path) -> dict[str, str]:
    """The environment of a user whose home is `folder`, and who has switched nothing off."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder)}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_backend_opens_nothing_and_writes_nothing(home: Path, tmp_path: Path, backend: str) -> None:
    folder = tmp_path / "user"
    folder.mkdir()
    command = [sys.executable, "-c", RECOGNISE, str(home), backend]
    subprocess.run(command, env=_environment(folder), check=True, timeout=60)
    assert list(folder.rglob("*")) == []


def test_no_native_thread_reaches_for_the_network(home: Path, tmp_path: Path) -> None:
    """Python's audit hooks see no native sockets; the kernel does."""
    log = tmp_path / "calls"
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not here")
    watch = [strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(log)]
    if subprocess.run([*watch, "true"], check=False).returncode:
        pytest.skip("strace may not watch processes here")
    command = [sys.executable, "-c", RECOGNISE, str(home), "onnxruntime", "openvino"]
    subprocess.run([*watch, *command], env=_environment(tmp_path), check=True, timeout=100)
    assert log.read_text() == ""


def _imports_aloud(tree: ast.Module) -> list[int]:
    """Returns the lines that import a runtime outside a ``with silenced()``."""
    silent = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and ast.unparse(block.items[0]) == "silenced()"
        for node in ast.walk(block)
    }
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        runtimes = {name.split(".")[0] for name in names} & {"onnxruntime", "openvino"}
        if runtimes and node not in silent:
            lines.append(node.lineno)
    return lines


def test_runtimes_are_imported_silenced() -> None:
    for path in SOURCE.rglob("*.py"):
        assert not _imports_aloud(ast.parse(path.read_text("utf-8"))), path
    assert _imports_aloud(ast.parse("import numpy\nfrom onnxruntime.capi import states")) == [2]


def test_silence_leaves_no_trace_in_the_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openvino.tools.ovc", raising=False)
    with silenced(), pytest.raises(ImportError):
        import_module("openvino.tools.ovc")
    assert "openvino.tools.ovc" not in sys.modules
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
