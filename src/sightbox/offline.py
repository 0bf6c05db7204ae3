"""A process that can reach no other machine: by a network namespace, and by an audit hook.

The namespace is the system's own denial and holds for native code too; Linux allows it to root and,
mostly, to everyone (unshare(2), network_namespaces(7)). The hook (PEP 578) works everywhere, sees
what Python does, and remembers it; a name that `connect` is given is asked for before it is seen,
and then refused. Neither can be taken back, so both are for a process of its own.
"""

import ctypes
import ipaddress
import os
import socket
import struct
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
"""Numbers of Linux: sched.h, sockios.h, if.h."""

ELSEWHERE = ("192.0.2.1", 9)
"""An address that belongs to no machine: TEST-NET-1 of RFC 5737, and the port of discard."""

ASKS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
"""Events of Python's audit table that ask for the address of a name, their first argument."""

ASKS_BACK = frozenset({"socket.gethostbyaddr", "socket.getnameinfo"})
"""Events that ask for the name of an address, their first argument."""

SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
"""Events whose second argument is the address that something is sent to."""


def enter_empty_network() -> bool:
    """Leaves all networks but a loopback of one's own; must run before the first thread starts.

    Returns:
        Whether the system allowed it. Where it did not, nothing has changed.
    """
    if sys.platform != "linux":
        return False
    system = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if system.unshare(CLONE_NEWNET) != 0:
        if system.unshare(CLONE_NEWNET | CLONE_NEWUSER) != 0:
            return False
        # The process keeps its own number, by which it owns its files: user_namespaces(7).
        with suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", IFF_UP)  # struct ifreq: netdevice(7)
        import_module("fcntl").ioctl(any_socket, SIOCSIFFLAGS, request)
    return True


def interfaces() -> list[str]:
    """Returns the names of the network interfaces that this process sees."""
    return [name for _, name in socket.if_nameindex()]


def reason_of_no_route() -> str | None:
    """Tries to reach a machine elsewhere, and returns why it cannot; None when it might.

    Only for a process in an empty network: in another one a packet would leave the machine.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            any_socket.connect(ELSEWHERE)
    except OSError as error:
        return error.strerror
    return None


def deny_connections() -> list[str]:
    """Lets this process reach only itself from now on.

    Returns:
        A list to which every try to reach something else is added, as ``event address``. The try
        itself ends with a `PermissionError`.
    """
    tries: list[str] = []

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event in SENDS:
            address, allowed = arguments[1], _is_here(arguments[1])
        elif event in ASKS:
            # A number needs not be asked for.
            address, allowed = arguments[0], _is_numeric(arguments[0])
        elif event in ASKS_BACK:
            address, allowed = arguments[0], _is_here(arguments[0])
        else:
            return
        if not allowed:
            tries.append(f"{event} {address!r}")
            raise PermissionError(f"{address!r} is not on this machine, and nothing else is asked.")

    sys.addaudithook(refuse)
    return tries


def _is_here(address: object) -> bool:
    """Tells whether an address, or a host alone, is of this machine."""
    if isinstance(address, tuple):
        return not address or _is_here(address[0])
    host = address.decode(errors="replace") if isinstance(address, bytes) else address
    # A path, or a name that begins with NUL, is a socket of unix(7); None is any address.
    if host is None or host in {"", "localhost"}:
        return True
    if not isinstance(host, str):
        return False
    if host.startswith(("/", "\0")):
        return True
    found = _number(host)
    return found is not None and found.is_loopback


def _is_numeric(host: object) -> bool:
    return _number(host) is not None or _is_here(host)


def _number(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Returns the address that a host spells as a number, or None."""
    text = host.decode(errors="replace") if isinstance(host, bytes) else host
    try:
        return ipaddress.ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
