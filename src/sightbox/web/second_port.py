"""The second port, of gRPC: it is there when its setting names it and its extra is installed."""

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from flask import Flask

from sightbox.errors import SettingsError
from sightbox.settings import Settings


def grpc_beside(app: Flask, settings: Settings) -> AbstractContextManager[str | None]:
    """Returns what serves gRPC beside HTTP and gives its address; None where it is off.

    Raises:
        SettingsError: The extra is not installed, or the address cannot be listened on.
    """
    if not settings.grpc_port:
        return nullcontext()
    try:
        service = import_module("sightbox.web.grpc_service")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The setting grpc_port needs {error.name}, which is not installed.",
            "Install it: pip install 'sightbox[grpc]'.",
        ) from error
    serving: AbstractContextManager[str] = service.serving_grpc(app, settings)
    return serving
