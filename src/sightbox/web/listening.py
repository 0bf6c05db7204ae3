"""What to listen on, and plain words for why not; how many connections the system allows."""

import errno
import socket

from sightbox.errors import SettingsError
from sightbox.machine import allow_open_files
from sightbox.settings import Settings

HINTS = {
    errno.EADDRINUSE: "Is Sightbox running already? Another port: --port 8019.",
    errno.EACCES: "Ports below 1024 need special rights. Another port: --port 8018.",
    errno.EADDRNOTAVAIL: "This is no address of this machine. All of them: --host 0.0.0.0.",
}
"""What to do about an error of the system."""

REFUSALS = 64
"""Connections beyond the limit that are told so at a time; others are closed without a word."""

OTHER_FILES = 128
"""Open files that are no connections: models, libraries, the log."""

NO_SUCH_HOST = "The setting host must be an address or a name of this machine."


def listen(host: str, port: int) -> socket.socket:
    """Returns a TCP socket that listens on a host and a port; port 0 takes a free one.

    Raises:
        SettingsError: The host is unknown, or the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (socket.gaierror, ValueError) as error:
        # A name such as "a..b" does not even get as far as the resolver.
        raise SettingsError(f"The host {host!r} cannot be found.", NO_SUCH_HOST) from error
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host}:{port}: {error.strerror}.",
            HINTS.get(error.errno or 0, "Choose another address: --host, --port."),
        ) from error


def affordable_connections(settings: Settings) -> int:
    """Returns how many connections a port may have.

    It is the setting `max_connections`, or less where the system lets this process open fewer
    files; HTTP and gRPC share those.
    """
    ports = 2 if settings.grpc_port else 1
    beside = REFUSALS + OTHER_FILES
    wanted = settings.max_connections
    allowed = (allow_open_files(ports * wanted + beside) - beside) // ports
    return max(1, min(wanted, allowed))
