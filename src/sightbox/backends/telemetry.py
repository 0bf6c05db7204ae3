"""Keeps the runtimes from calling home: unless told not to, both send usage data over the network.

ONNX Runtime does it from 1.29 on, in native threads, with a device number that it writes into the
user's cache folder (its ``Privacy.md``). OpenVINO does it when the package is imported, in a child
process, and writes a client number into ``~/intel`` (``openvino/tools/ovc/__init__.py``).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
_OPENVINO_SENDER = "openvino.tools.ovc"


@contextmanager
def silenced() -> Iterator[None]:
    """Wraps the import of a runtime, which then sends nothing for the life of the process.

    ONNX Runtime reads its switch while it is loaded, and hands it on to child processes. OpenVINO
    has no switch: its conversion tools, whose import does the sending, are made not importable
    meanwhile, which the package allows for; it loads in a third of the time without them. A
    runtime that somebody else has imported before has sent its greeting already.
    """
    os.environ[_ONNXRUNTIME_SWITCH] = "1"
    if _OPENVINO_SENDER in sys.modules:
        yield
        return
    # None there makes the import of this module an ImportError (importlib, "sys.modules").
    sys.modules[_OPENVINO_SENDER] = None  # type: ignore[assignment]  # typeshed leaves None out
    try:
        yield
    finally:
        del sys.modules[_OPENVINO_SENDER]
