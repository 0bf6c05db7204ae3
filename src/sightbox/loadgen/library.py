"""The library: MLCommons' LoadGen (mlcommons/inference, ``loadgen/bindings/python_api.cc``)."""

from importlib import import_module
from typing import Any

from sightbox.errors import RequestError

DISTRIBUTION = "mlcommons-loadgen"


def load_library() -> Any:  # noqa: ANN401 - it ships no types
    """Returns the library's module.

    Raises:
        RequestError: It is not installed.
    """
    try:
        return import_module("mlperf_loadgen")
    except ImportError as error:
        raise RequestError(
            "LoadGen is not installed.",
            "Install it: pip install 'sightbox[bench]'. It has no wheel for Linux on ARM.",
        ) from error
