"""The whole surface, asked once about the same drawn photo, in a process that reaches nobody.

The page and its files, every dialect, gRPC where it is installed, the command line and the Python
API: each must answer, and name what the Python API names.
"""

import io
import json
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from functools import partial
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from sightbox.cli import classify
from sightbox.cli.calls import Call, calls
from sightbox.errors import SightboxError
from sightbox.golden import golden_photos
from sightbox.offline import ELSEWHERE
from sightbox.opening import open_classifier
from sightbox.prediction import Score
from sightbox.residents import Residents
from sightbox.settings import Settings, load_settings
from sightbox.verification import Finding
from sightbox.web.app import create_app
from sightbox.web.server import Server

PART = "surface"

SECONDS = 60
"""How long one answer may take: a hundred times what a busy machine with one core needs."""

NO_SECRETS = {"host": "127.0.0.1", "port": 0, "grpc_port": None, "token": None}
"""Settings of the server that is asked: it lives for seconds, on a free port of this machine."""

GRPC = ("grpc", "google.protobuf")


def findings(
    namespace: Sequence[str] | None, reason: str | None, tries: list[str]
) -> Iterator[Finding]:
    """Yields how connections are denied, what each part of the surface answered, and what tried.

    Args:
        namespace: The network interfaces of the empty network; None where there is no such.
        reason: Why the system reaches nobody from there; None where it might.
        tries: What `sightbox.offline.deny_connections` notes.
    """
    yield _denial(namespace, reason)
    yield _refusal(tries)
    settings = load_settings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        Image.fromarray(golden_photos()[0]).save(path)
        try:
            yield from _answers(settings, path)
        except SightboxError as error:
            yield Finding(PART, "Python", str(error))
    yield Finding(
        PART, "connections tried", f"tried: {', '.join(tries)}" if tries else None, "none but here"
    )


def _denial(namespace: Sequence[str] | None, reason: str | None) -> Finding:
    name = "denied by the system"
    if namespace is None:
        return Finding(PART, name, note="no network namespace is allowed here; by the hook alone")
    problem = None if list(namespace) == ["lo"] and reason else "the namespace is not empty"
    return Finding(PART, name, problem, f"a network namespace, {', '.join(namespace)}: {reason}")


def _refusal(tries: list[str]) -> Finding:
    """Tries to reach an address that belongs to nobody: the hook must refuse it, and note it."""
    problem: str | None = "a socket was let out"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            any_socket.connect(ELSEWHERE)
    except PermissionError:
        problem = None if tries else "a try is not noted"
    except OSError as error:
        problem = f"the hook did not see it: {error.strerror}"
    tries.clear()
    return Finding(PART, "denied in the process", problem, "an audit hook")


def _answers(settings: Settings, path: Path) -> Iterator[Finding]:
    quiet = settings.model_copy(update=NO_SECRETS | {"min_score": 0.0, "top_k": 1})
    with open_classifier(quiet) as classifier, Residents(classifier, quiet) as residents:
        best = classifier.classify(path, top_k=1).predictions[0]
        yield Finding(PART, "Python", note=_named(best))
        app = create_app(classifier, quiet, residents)
        name = classifier.card.name
        with _serving(Server(app, quiet)) as server:
            for call in calls(name, path.read_bytes(), best.index, best.label["en"]):
                yield _tried(call.name, partial(_ask, server.url, call))
            if all(find_spec(module.partition(".")[0]) for module in GRPC):
                service = import_module("sightbox.web.grpc_service")
                serving = service.serving_grpc(app, quiet)
                yield _tried("gRPC", partial(_ask_grpc, serving, name, path, best.index))
            else:
                yield Finding(PART, "gRPC", note="not installed")
    yield _tried("sightbox classify", partial(_run_command, path, best))


def _tried(name: str, ask: Callable[[], str | None]) -> Finding:
    try:
        return Finding(PART, name, ask())
    except (OSError, HTTPException, ValueError, SightboxError) as error:
        return Finding(PART, name, f"{type(error).__name__}: {error}")


@contextmanager
def _serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.run, name="sightbox-server")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def _ask(url: str, call: Call) -> str | None:
    """Asks over HTTP, and returns what is wrong with the answer, or None."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
    try:
        method = "GET" if call.body is None else "POST"
        connection.request(method, call.path, call.body, dict(call.headers))
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:  # OK: RFC 9110, section 15.3.1
        return f"answered {response.status}: {content[:200].decode(errors='replace')}"
    if call.names and call.names not in content.decode():
        return f"does not name {call.names}: {content[:200].decode(errors='replace')}"
    return None if content else "answered nothing"


def _ask_grpc(
    serving: AbstractContextManager[str], model: str, path: Path, index: int
) -> str | None:
    with serving as address:
        client = import_module("sightbox.web.grpc_client")
        named = client.first_class(address, model, path.read_bytes(), SECONDS)
    return None if named == index else f"names class {named} instead of {index}"


def _run_command(path: Path, best: Score) -> str | None:
    """Runs the command line's classify in this process, where connections are denied."""
    written = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with redirect_stdout(written):
        code = classify.run(
            [str(path)],
            recursive=False,
            language=classify.ALL,
            form="json",
            overlay=None,
            given={"top_k": 1, "min_score": 0.0},
        )
        sys.stdout.flush()
    written.seek(0)
    (result,) = json.loads(written.read())["results"]
    if code != 0 or result["predictions"][0]["index"] != best.index:
        return f"ended with {code}: {result}"
    return None


def _named(score: Score) -> str:
    return f"class {score.index}, {score.label['en']}, {score.score:.1%}"
