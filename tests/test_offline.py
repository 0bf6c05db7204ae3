"""Processes that can reach no other machine, and notice it when something tries."""

import subprocess
import sys

import pytest

HOOKED = """
import socket, sys
from sightbox.offline import deny_connections
tries = deny_connections()
# What stays here: a number is no question, and loopback is this machine.
socket.getaddrinfo("0.0.0.0", 80)
socket.getaddrinfo("127.0.0.1", 80)
socket.getaddrinfo(None, 80)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
first, second = socket.socketpair()
first.close(), second.close()
assert not tries, tries
{attempt}
"""

ATTEMPTS = {
    "name": 'socket.getaddrinfo("example.com", 80)',
    "name in bytes": 'socket.getaddrinfo(b"example.com", 80)',
    "old way to ask": 'socket.gethostbyname("example.com")',
    "name of an address": 'socket.getnameinfo(("192.0.2.1", 80), 0)',
    "IPv4": 'socket.create_connection(("192.0.2.1", 80))',
    "IPv6": 'socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80))',
    "datagram": 'socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))',
}

EMPTY = """
import socket, sys
from sightbox.offline import enter_empty_network, interfaces, reason_of_no_route
if not enter_empty_network():
    sys.exit(77)
assert interfaces() == ["lo"]
assert reason_of_no_route() == "Network is unreachable"
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
open(sys.argv[1], "w").close()
"""


@pytest.mark.parametrize("name", ATTEMPTS)
def test_hook_refuses_and_notes_what_leaves_the_machine(name: str) -> None:
    attempt = (
        f"try:\n    {ATTEMPTS[name]}\n"
        "except PermissionError as error:\n    assert 'is not on this machine' in str(error)\n"
        "else:\n    sys.exit('let out')\nassert len(tries) == 1, tries"
    )
    done = subprocess.run(
        [sys.executable, "-c", HOOKED.replace("{attempt}", attempt)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_empty_network_has_a_loopback_and_nothing_else(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EMPTY, f"{tmp_path}/written"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this system allows no network namespace")
    assert (done.returncode, done.stderr) == (0, "")
