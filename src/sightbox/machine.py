"""What this machine offers: processor cores that may really be used, and how they are named."""

import math
import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Returns the number of cores this process may use, at least 1.

    It is the smallest of the scheduler's affinity mask and the quota of the control group
    (Linux kernel, cgroup-v2.rst ``cpu.max``; sched-bwc.rst ``cpu.cfs_quota_us``), rounded up. The
    host's core count is no help in a container: a runtime that starts 64 threads on a quota of two
    cores is slower than one that starts two.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


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


def _cpuinfo_field(field: str, cpuinfo: Path) -> str:
    for line in _lines(cpuinfo):
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _cgroup_quota(cgroup: Path) -> float | None:
    """Returns the group's CPU quota in cores; None when there is none."""
    for line in _lines(cgroup / "cpu.max"):
        quota, _, period = line.partition(" ")
        return None if quota == "max" else int(quota) / int(period)
    v1 = cgroup / "cpu"
    quota_us = next(iter(_lines(v1 / "cpu.cfs_quota_us")), "-1")
    period_us = next(iter(_lines(v1 / "cpu.cfs_period_us")), "100000")
    return None if int(quota_us) <= 0 else int(quota_us) / int(period_us)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
