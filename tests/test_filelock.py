"""One holder at a time, whoever asks and however the last one ended."""

import errno
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightbox import filelock
from sightbox.filelock import exclusive_lock

HOLDER = """
import sys
from pathlib import Path
from sightbox.filelock import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
    print("done", flush=True)
"""

ADDER = """
import sys
from pathlib import Path
from sightbox.filelock import exclusive_lock
lock, counter = map(Path, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(500):
    with exclusive_lock(lock):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def child(code: str, *paths: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", code, *map(str, paths)]
    return subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )


def take(lock: Path, taken: threading.Event) -> None:
    with exclusive_lock(lock):
        taken.set()


def test_lock_file_is_gone_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with exclusive_lock(lock):
        assert lock.exists()
    assert sys.platform == "win32" or not lock.exists()


def test_lock_is_freed_when_the_block_raises(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError), exclusive_lock(lock):
        raise ZeroDivisionError
    take(lock, taken := threading.Event())
    assert taken.is_set()


def test_file_left_by_a_dead_holder_does_not_block(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.touch()
    take(lock, taken := threading.Event())
    assert taken.is_set()


def test_different_paths_do_not_exclude_each_other(tmp_path: Path) -> None:
    with exclusive_lock(tmp_path / "a.lock"), exclusive_lock(tmp_path / "b.lock"):
        assert len(list(tmp_path.glob("*.lock"))) == 2


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive_lock(tmp_path / "none" / "x.lock"):
        pass


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    lock, taken = tmp_path / "x.lock", threading.Event()
    waiter = threading.Thread(target=take, args=(lock, taken))
    with exclusive_lock(lock):
        waiter.start()
        assert not taken.wait(0.1)
    waiter.join(60)
    assert taken.is_set()


def test_processes_exclude_each_other(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    adders = [child(ADDER, tmp_path / "x.lock", counter) for _ in range(3)]
    for adder in adders:
        assert adder.stdout is not None
        assert adder.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda adder: adder.communicate("go\n", timeout=60), adders))
    assert counter.read_text() == "1500"


def test_waiter_gets_its_turn_when_the_holder_ends(tmp_path: Path) -> None:
    lock, taken = tmp_path / "x.lock", threading.Event()
    with child(HOLDER, lock) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiter = threading.Thread(target=take, args=(lock, taken))
        waiter.start()
        assert not taken.wait(0.1)
        holder.communicate("end\n", timeout=60)
        waiter.join(60)
    assert taken.is_set()


def test_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    lock, taken = tmp_path / "x.lock", threading.Event()
    with child(HOLDER, lock) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait(60)
        take(lock, taken)
    assert taken.is_set()
    assert sys.platform == "win32" or not lock.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(filelock, "_lock", refuse)
    take(tmp_path / "x.lock", taken := threading.Event())
    assert taken.is_set()


def test_other_lock_errors_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(filelock, "_lock", refuse)
    with pytest.raises(OSError, match="broken disk"), exclusive_lock(tmp_path / "x.lock"):
        pass
