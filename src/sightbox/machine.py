"""What this machine offers: processor cores that may really be used, and how they are named."""

import ctypes
import math
import mmap
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import sightbox

if sys.platform != "win32":
    import resource

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
CPUINFO = Path("/proc/cpuinfo")
STATM = Path("/proc/self/statm")

_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1
"""M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of mallopt(3)."""

LARGE_BLOCK = 8 * 1024**2
"""Bytes of memory that go back to the system as soon as they are freed. Photos of 500 x 375 pixels
take 0.75 MB, a batch of eight for the network 4.8 MB; with 2 MB here, asking for it anew took 4 %
of a server's time."""

_LIBC = ctypes.CDLL(None) if os.name == "posix" else None

BF16_SETS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets that compute in bfloat16; without them runtimes do it in float32."""


def usable_cores(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """Returns the number of cores this process may use, at least 1.

    It is the smaller of the scheduler's affinity mask and `cpu_quota`, rounded up. The host's core
    count is no help in a container: a runtime that starts 64 threads on a quota of two cores is
    slower than one that starts two.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cpu_quota(cgroup, membership)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def wanted_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """Returns how many threads the environment allows a computation; None when it does not say.

    It is what ``OMP_NUM_THREADS`` (OpenMP 5.2, section 21.1.2, of which the first level counts) or
    ``MKL_NUM_THREADS`` asks for, the smaller one. What is no positive number says nothing.
    """
    told = (environment.get(name, "") for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    firsts = (text.partition(",")[0].strip() for text in told)
    return min((int(text) for text in firsts if text.isdecimal() and int(text) > 0), default=None)


def limit_arenas(arenas: int) -> None:
    """Lets glibc's malloc keep at most so many heaps, and no large blocks.

    Usually each thread gets a heap of its own, up to eight for a core, and none ever shrinks. On
    two cores, two heaps saved a tenth of a server's memory at the same speed. And usually malloc
    keeps blocks of up to 32 MB once one was freed: after some large uploads a server held 50 MB
    more. Elsewhere nothing happens.
    """
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_ARENA_MAX, arenas)
        mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_TRIM_THRESHOLD, LARGE_BLOCK)


def _libc(name: str) -> Callable[..., int] | None:
    return getattr(_LIBC, name, None)


def allow_open_files(wanted: int) -> int:
    """Lets this process open so many files, as far as the system allows, and returns how many.

    The soft limit is often 1,024 where the hard one is higher (setrlimit(2), RLIMIT_NOFILE). It is
    never lowered. Where there are no such limits, `wanted` is returned.
    """
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised


def resident_bytes(statm: Path = STATM) -> int:
    """Returns how much memory this process has in RAM; 0 where the system does not tell it so.

    Args:
        statm: The file that tells it, in pages (proc_pid_statm(5)).
    """
    lines = _lines(statm)
    return int(lines[0].split()[1]) * mmap.PAGESIZE if lines else 0


def give_back_memory() -> None:
    """Lets glibc's malloc give what is free back to the system; elsewhere nothing happens.

    By itself it keeps most of it: of a network that was dropped, ONNX Runtime's session of 80 MB
    stayed with the process whole. It takes some milliseconds, and the next work asks for it anew:
    something for idle times.
    """
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def cpu_quota(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> float | None:
    """Returns the CPU time that the control groups grant, in cores; None when it is not limited.

    It is the least quota of the process's own group and of all above it (Linux kernel,
    cgroup-v2.rst ``cpu.max``; sched-bwc.rst ``cpu.cfs_quota_us``).

    Args:
        cgroup: Where the groups are mounted.
        membership: The file that names this process's groups (cgroups(7), /proc/pid/cgroup).
    """
    # In a container the groups may be named as the host sees them: then only the root is there.
    groups = [cgroup, cgroup / "cpu"]
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups += _down_to(cgroup, path)
        elif "cpu" in controllers.split(","):
            groups += _down_to(cgroup / "cpu", path)
    return min((quota for group in groups for quota in _quotas(group)), default=None)


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """Returns the processor's name as the system tells it."""
    return _cpuinfo_field("model name", cpuinfo) or platform.processor() or platform.machine()


def instruction_sets(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Returns the vector instruction sets that matter to a runtime, in order of age.

    Empty where the system does not list them (only Linux on x86-64 does in this form).
    """
    flags = set(_cpuinfo_field("flags", cpuinfo).split())
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return tuple(name for name in known if name in flags)


def machine_card() -> dict[str, str | int | float | None]:
    """Returns what a report tells of the machine: processor, system, cores, versions."""
    return {
        "name": processor_name(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "sightbox": sightbox.__version__,
    }


def _cpuinfo_field(field: str, cpuinfo: Path) -> str:
    for line in _lines(cpuinfo):
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _down_to(mount: Path, path: str) -> Iterator[Path]:
    """Yields the group `path` and all between it and the mount."""
    group = mount
    for part in path.strip("/").split("/"):
        group /= part
        yield group


def _quotas(group: Path) -> Iterator[float]:
    """Yields the group's own quota in cores, if there is one, of version 2 or of version 1."""
    for line in _lines(group / "cpu.max"):
        quota, _, period = line.partition(" ")
        if quota != "max":
            yield int(quota) / int(period)
    for quota_us in _lines(group / "cpu.cfs_quota_us"):
        period_us = next(iter(_lines(group / "cpu.cfs_period_us")), "100000")
        if int(quota_us) > 0:
            yield int(quota_us) / int(period_us)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


class MemoryGrowth:
    """How much the process grows by, from its making on.

    Args:
        least: Bytes that are known to be taken.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        # Free memory that the process still holds would hide what is taken from now on.
        give_back_memory()
        self._before = resident_bytes()

    def measure(self) -> int:
        """Returns the bytes that stay, without what was only needed on the way."""
        give_back_memory()
        return max(self._least, resident_bytes() - self._before)
