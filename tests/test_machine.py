"""Cores from the control group, names from /proc/cpuinfo."""

import ctypes
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightbox.machine import (
    cpu_quota,
    give_back_memory,
    instruction_sets,
    processor_name,
    resident_bytes,
    usable_cores,
    wanted_threads,
)

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", AFFINITY),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("9900000 100000", AFFINITY),
    ],
)
def test_cgroup_v2_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores(tmp_path, tmp_path / "membership") == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", AFFINITY), ("20000", 1), ("100000", 1)])
def test_cgroup_v1_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path, tmp_path / "membership") == cores


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "membership") == AFFINITY


def _grant(group: Path, cores: float, *, version: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (group / "cpu.max").write_text(f"{int(cores * 100_000)} 100000\n")
    else:
        (group / "cpu.cfs_quota_us").write_text(f"{int(cores * 50_000)}\n")
        (group / "cpu.cfs_period_us").write_text("50000\n")


@pytest.mark.parametrize(("root", "above", "own"), [(1.5, 3, 2), (4, 1.5, 3), (3, 2, 1.5)])
@pytest.mark.parametrize(
    ("version", "mount", "lines"),
    [
        (2, ".", "0::/box/unit:1\n"),
        (1, "cpu", "5:memory:/other\n4:cpu,cpuacct:/box/unit:1\n0::/\n"),
    ],
)
def test_least_quota_up_the_tree_counts(
    tmp_path: Path, version: int, mount: str, lines: str, root: float, above: float, own: float
) -> None:
    membership = tmp_path / "membership"
    membership.write_text(lines)
    _grant(tmp_path / mount, root, version=version)
    _grant(tmp_path / mount / "box", above, version=version)
    _grant(tmp_path / mount / "box" / "unit:1", own, version=version)
    _grant(tmp_path / mount / "box" / "unit:1" / "below", 0.1, version=version)
    _grant(tmp_path / mount / "other", 0.1, version=version)
    assert cpu_quota(tmp_path, membership) == 1.5


def test_group_that_only_the_host_sees_leaves_the_root(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/kubepods/pod1\n")
    assert cpu_quota(tmp_path, tmp_path / "membership") is None
    _grant(tmp_path, 2, version=2)
    assert cpu_quota(tmp_path, tmp_path / "membership") == 2


def test_processor_is_named_from_cpuinfo(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: fpu avx2 avx512_vnni sse\n"
    )
    assert processor_name(cpuinfo) == "Example 9000"
    assert instruction_sets(cpuinfo) == ("avx2", "avx512_vnni")


def test_without_cpuinfo_there_still_is_a_name(tmp_path: Path) -> None:
    assert processor_name(tmp_path / "none")
    assert instruction_sets(tmp_path / "none") == ()


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, None),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": " 4,2"}, 4),
        ({"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "0", "MKL_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": ""}, None),
    ],
)
def test_environment_may_say_how_many_threads(
    environment: dict[str, str], threads: int | None
) -> None:
    assert wanted_threads(environment) == threads


HEAPS = """
import ctypes, sys, threading
from sightbox.machine import limit_arenas
if sys.argv[1:]:
    limit_arenas(int(sys.argv[1]))
started = threading.Barrier(4)
def allocate():
    started.wait()
    return bytes(100_000)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_heaps_of_malloc_are_limited() -> None:
    counts = [
        subprocess.run(
            [sys.executable, "-c", HEAPS, *limit], capture_output=True, text=True, check=True
        ).stdout.count("<heap nr=")
        for limit in ([], ["1"])
    ]
    assert counts[0] > counts[1] == 1


def test_resident_memory_is_told_in_bytes(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("9000 30 20 1 0 300 0\n")
    assert resident_bytes(statm) == 30 * mmap.PAGESIZE
    assert resident_bytes(tmp_path / "nope") == 0


def test_what_is_free_is_given_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("only glibc gives memory back when it is asked to")
    taken = [b"x" * 50_000 for _ in range(2000)]
    above = b"x" * 50_000  # malloc gives back by itself what nothing lies above
    del taken
    before = resident_bytes()
    give_back_memory()
    assert resident_bytes() < before - 50_000_000
    assert above


BLOCKS = """
import sys
from pathlib import Path
from sightbox.machine import limit_arenas
if sys.argv[1:]:
    limit_arenas(1)
def held():
    return int(Path("/proc/self/statm").read_text().split()[1])
bytes(b"x" * 30_000_000)
before = held()
between = []
for _ in range(20):
    block = b"x" * 10_000_000
    between.append((block, b"x" * 100_000))
between = [small for _, small in between]
del block
print((held() - before) * 4096)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_large_blocks_go_back_to_the_system_when_they_are_freed() -> None:
    """Usually small ones between them keep them in the process."""
    kept, limited = (
        int(
            subprocess.run(
                [sys.executable, "-c", BLOCKS, *limit], capture_output=True, text=True, check=True
            ).stdout
        )
        for limit in ([], ["1"])
    )
    assert kept > 30_000_000
    assert limited < 10_000_000
