"""What breaks while the server runs: threads, the runtime, files, the disk, the process itself."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from PIL import Image

import sightbox
from serving import ask, assert_problem, connect, hear, serving
from sightbox.backends import Pixels
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.store import Store

REQUESTS = 100
CYCLES = 50

GRACE = 10
"""The default of the setting `grace`, s: with all answered, the server is gone within it."""


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), SystemExit(), MemoryError()])
def test_failing_engine_is_told_and_comes_back(
    home: Path, cat: bytes, failure: BaseException
) -> None:
    """A worker's thread that dies is replaced; its calls hear of it, the next ones are answered."""
    fail = threading.Event()

    def fall(_images: Pixels) -> None:
        if fail.is_set():
            fail.clear()
            raise failure

    with Classifier(backend=DummyBackend(fall), home=home) as made, serving(made) as url:
        threads = threading.active_count()
        for _ in range(5):
            fail.set()
            assert_problem(ask(url, "/v1/classify", cat), 500, "backend_failed")
            assert ask(url, "/v1/classify", cat)[0] == 200
            assert ask(url, "/readyz")[0] == 200
        assert threading.active_count() <= threads + 1


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("damage", ["cut", "overwritten", "gone"])
def test_model_damaged_while_it_answers_goes_on_answering(
    home: Path, tmp_path: Path, cat: bytes, backend: str, damage: str
) -> None:
    """What is mapped into memory from a file that is cut would end the process (SIGBUS)."""
    mine = tmp_path / "home"
    shutil.copytree(home, mine)
    with Classifier(backend=backend, home=mine) as made, serving(made, home=mine) as url:
        before = ask(url, "/v1/classify", cat)[2]["predictions"]
        files = [path for path in (mine / "models").rglob("*") if path.is_file()]
        assert len(files) > 2
        for path in files:
            match damage:
                case "cut":
                    os.truncate(path, 0)
                case "overwritten":
                    path.write_bytes(os.urandom(path.stat().st_size))
                case _:
                    path.unlink()
        assert ask(url, "/v1/classify", cat)[2]["predictions"] == before
        assert ask(url, "/readyz")[0] == 200
        assert ask(url, f"/v1/models/{made.card.name}")[0] == 200
        assert ask(url, "/v1/models")[0] == 200


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from sightbox.cli.main import run
sys.argv = ["sightbox", "serve", "--port", "0"]
run()
"""


def test_server_on_a_full_disk_answers_and_leaves_nothing_half_written(
    tmp_path: Path, cat: bytes
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FULL_DISK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SIGHTBOX_HOME": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        assert ask(url, "/v1/classify", cat)[2]["predictions"][0]["wnid"].startswith("n0212")
        process.terminate()
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "written" in errors
    assert not [path for path in (tmp_path / "models").rglob("*") if path.suffix == ".onnx"]


def test_every_accepted_request_is_answered_after_sigterm() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "PNG")
    picture = stream.getvalue()
    command = [sys.executable, "-m", "sightbox", "serve", "--port", "0", "--backend", "dummy"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        ExitStack() as stack,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        clients = [stack.enter_context(connect(url)) for _ in range(REQUESTS)]
        for client in clients:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert hear(client)[0] == 200
        head = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        for client in clients:
            client.sendall(f"{head}{len(picture)}\r\n\r\n".encode() + picture)
        assert hear(clients[0])[0] == 200
        process.send_signal(signal.SIGTERM)
        answers = [hear(client)[0] for client in clients[1:]]
        process.wait(GRACE)
    assert answers == [200] * (REQUESTS - 1)
    assert process.returncode == 0


def test_stop_does_not_wait_for_who_has_stalled() -> None:
    """One has sent half of a request; it is told why, and the server stops long before `grace`."""
    command = [sys.executable, "-m", "sightbox", "serve", "--port", "0", "--backend", "dummy"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with connect(url) as stalled:
            stalled.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n")
            stalled.sendall(b"Content-Length: 9\r\n\r\nabc")
            assert ask(url, "/livez")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert_problem(hear(stalled), 503, "closed")
        process.wait(GRACE)
    assert process.returncode == 0


HALF_WAY = """
import os, pathlib, signal, sys
left = last = int(sys.argv.pop())
def watch(event, arguments):
    global left
    if event == "open" and "w" in str(arguments[1]) or event == "os.rename":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from sightbox.store import Store
Store(pathlib.Path(sys.argv[1])).prepare_embedded()
print(last - left)
"""


def test_start_that_is_killed_leaves_nothing_half_written(tmp_path: Path, cat: bytes) -> None:
    """SIGKILL before a file is opened or gets its name; each next start goes on from there."""

    def prepare(home: Path, step: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", HALF_WAY, str(home), str(step)]
        return subprocess.run(command, check=False, timeout=120, stdout=subprocess.PIPE, text=True)

    def files(home: Path) -> set[str]:
        return {path.name for path in (home / "models").glob("[!.]*/*") if path.is_file()}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    steps = int(prepare(whole, 0).stdout)
    assert steps > 3
    for step in (1, steps // 2, steps - 1, steps):
        assert prepare(killed, step).returncode == -signal.SIGKILL
        assert files(killed) in (set(), files(whole))
    assert prepare(killed, 0).returncode == 0
    assert [check.problem for check in Store(killed).verify("efficientnet-lite0")] == [None] * 3
    with Classifier(home=killed) as made:
        assert made.classify(cat).predictions


TIME_OF_DAY = {
    "benchmark/report.py",
    "cli/verify.py",
    "loadgen/report.py",
    "loadtest/report.py",
    "web/dialects/counters.py",
}
"""What may read it: to tell when something was."""


def test_no_time_limit_follows_a_clock_that_may_be_set() -> None:
    source = Path(sightbox.__file__).parent
    read = re.compile(r"\btime\.time(_ns)?\(|\bfrom time import .*\btime\b|datetime\.(utc)?now")
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if read.search(path.read_text())
    }
    assert found == TIME_OF_DAY


def test_waits_and_models_are_as_long_after_the_clock_was_set(
    home: Path, cat: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture waits for the engine while the time of day jumps by a day, and back by two."""
    inside, go_on, now = threading.Event(), threading.Event(), time.time
    answers: list[int] = []

    def hold(_images: Pixels) -> None:
        inside.set()
        assert go_on.wait(60)

    go_on.set()
    with Classifier(backend=DummyBackend(hold), home=home) as made, serving(made) as url:
        for jump in (86_400, -86_400):
            inside.clear()
            go_on.clear()
            waits = threading.Thread(
                target=lambda: answers.append(ask(url, "/v1/classify", cat)[0])
            )
            waits.start()
            assert inside.wait(60)
            monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
            assert ask(url, "/livez")[0] == 200
            go_on.set()
            waits.join()
        assert ask(url, "/readyz")[0] == 200
    assert answers == [200, 200]


FORK = """
import os, sys
from sightbox import Classifier
from sightbox.errors import BackendError
with Classifier(backend=sys.argv[2]) as classifier:
    before = classifier.classify(sys.argv[1]).top.wnid
    child = os.fork()
    if not child:
        try:
            classifier.classify(sys.argv[1])
        except BackendError as error:
            classifier.close()
            with Classifier(backend="dummy") as own:
                assert own.classify(sys.argv[1]).top.wnid
            os._exit(7 if "Make one in each process" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert classifier.classify(sys.argv[1]).top.wnid == before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork(2)")
@pytest.mark.parametrize("backend", ["dummy", "onnxruntime"])
def test_fork_of_a_classifier_is_told_and_its_parent_goes_on(photos: Path, backend: str) -> None:
    """Python warns of forks beside threads from 3.12 on."""
    ignore = ["-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *ignore, "-c", FORK, str(photos / "chelsea.png"), backend]
    subprocess.run(command, check=True, timeout=60)


def used() -> tuple[int, int]:
    """Returns how many descriptors and threads this process has."""
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


def test_servers_opened_and_closed_again_and_again_leave_nothing_open(
    home: Path, cat: bytes
) -> None:
    levels = []
    for _ in range(CYCLES):
        with Classifier(backend=DummyBackend(), home=home) as made, serving(made) as url:
            assert ask(url, "/v1/classify", cat)[0] == 200
        levels.append(used())
    # A thread that has done its work takes a moment to be gone from the system's list.
    assert any(used() <= levels[2] for _ in range(1000))


def test_engines_opened_and_closed_again_and_again_leave_nothing_open(
    home: Path, photos: Path
) -> None:
    levels = []
    for _ in range(CYCLES):
        with Classifier(backend="onnxruntime", home=home, threads=2) as made:
            assert made.classify(photos / "chelsea.png")
        levels.append(used())
    # The first ones load libraries, which keep a thread or a file for themselves.
    assert levels[-1] <= levels[2]
