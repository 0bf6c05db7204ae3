"""A server that notes what its process opens, runs and connects to: the child of test_untouched.py.

It prints its address; a line on standard input makes it forget what it has noted, the next one
makes it print that as JSON and end.
"""

import json
import sys

from serving import serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier

NOTED = ("open", "os.", "tempfile.", "shutil.", "glob.", "subprocess.", "ctypes.dlopen", "import")
REACHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "urllib.")

noted: list[tuple[str, list[str]]] = []


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Notes an audit event (PEP 578) that has to do with files, processes or the network."""
    if event.startswith((*NOTED, *REACHED)):
        noted.append((event, [str(argument) for argument in arguments]))


def main() -> None:
    """Serves the dummy backend until the second line."""
    with Classifier(backend=DummyBackend()) as classifier, serving(classifier) as url:
        print(url, flush=True)
        sys.stdin.readline()
        sys.addaudithook(note)
        print("watching", flush=True)
        sys.stdin.readline()
        print(json.dumps(noted), flush=True)


if __name__ == "__main__":
    main()
