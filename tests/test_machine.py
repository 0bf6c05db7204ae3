"""Cores from the control group, names from /proc/cpuinfo."""

import os
from pathlib import Path

import pytest

from sightbox.machine import instruction_sets, processor_name, usable_cores

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
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", AFFINITY), ("20000", 1), ("100000", 1)])
def test_cgroup_v1_quota_limits_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == cores


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == AFFINITY


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
