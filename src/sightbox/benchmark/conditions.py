"""What the machine did beside the benchmark: other work, stolen time, throttling, swapping, energy.

All of it is told by Linux alone; elsewhere it is None.
"""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Self

from sightbox.machine import usable_cores

if sys.platform == "darwin":
    import resource

PROC = Path("/proc")
SYS = Path("/sys")

_BUSY = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq of the fields of /proc/stat (proc_stat(5))."""

_STEAL = 7


@dataclass(frozen=True)
class Conditions:
    """How undisturbed a run was; None is what the system does not tell.

    Attributes:
        load_before: Load average of the minute before it.
        contention: Part of the cores' time that other processes took and that the benchmark could
            have used, 0 to 1.
        stolen: Part of the time that the host gave to other machines, 0 to 1.
        throttled: Times that a core was slowed for its heat.
        withheld: Seconds that the quota of a control group held the process up.
        swapped: Pages that were swapped in or out.
    """

    load_before: float | None = None
    contention: float | None = None
    stolen: float | None = None
    throttled: int | None = None
    withheld: float | None = None
    swapped: int | None = None

    def to_json(self) -> dict[str, float | None]:
        """Returns it as JSON values."""
        return {
            name: value if value is None else round(value, 4)
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class _Counters:
    moment: float
    own: float
    busy: float | None
    stolen: float | None
    throttled: int | None
    withheld: float | None
    swapped: int | None

    @classmethod
    def read(cls) -> Self:
        stat = _fields(PROC / "stat", "cpu ")
        ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        return cls(
            perf_counter(),
            _own_seconds(),
            sum(stat[which] for which in _BUSY) / ticks if stat else None,
            stat[_STEAL] / ticks if len(stat) > _STEAL else None,
            _throttled(),
            _withheld(),
            _swapped(),
        )


class Watch:
    """Looks at the machine's counters from its start on; children count once they have ended."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self._before = _Counters.read()

    def conditions(self) -> Conditions:
        """Returns what happened since the start."""
        before, after = self._before, _Counters.read()
        passed = max(after.moment - before.moment, 1e-9)
        cores = os.cpu_count() or 1
        contention = None
        if before.busy is not None and after.busy is not None:
            others = (after.busy - before.busy - (after.own - before.own)) / passed
            # What others took of cores that the benchmark cannot use anyway did not disturb it.
            contention = min(1.0, max(0.0, others + usable_cores() - cores) / usable_cores())
        return Conditions(
            self._load,
            contention,
            _grown(before.stolen, after.stolen, 1 / passed / cores),
            _whole(_grown(before.throttled, after.throttled)),
            _grown(before.withheld, after.withheld),
            _whole(_grown(before.swapped, after.swapped)),
        )


def energy(root: Path = SYS) -> float | None:
    """Returns the joules that all processors took since some moment; None where it is not told.

    It is Intel's and AMD's running average power limit (Linux kernel, power/powercap/powercap.rst),
    which only root may read on many systems. It starts anew after some kWh.
    """
    domains = sorted((root / "class" / "powercap").glob("intel-rapl:*"))
    # Those with two colons are parts of those with one.
    values = [_number(each / "energy_uj") for each in domains if each.name.count(":") == 1]
    told = [value for value in values if value is not None]
    return sum(told) / 1e6 if told else None


def peak_bytes(root: Path = PROC) -> int:
    """Returns the most that this process ever had in RAM, in bytes; 0 where it is not told."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not getrusage: there a child begins with what its parent had.
    found = _fields(root / "self" / "status", "VmHWM:")
    return 1024 * found[0] if found else 0


def _own_seconds() -> float:
    """Returns the time of cores that this process and the children that have ended took."""
    return sum(os.times()[:4])


def _throttled() -> int | None:
    cores = (SYS / "devices" / "system" / "cpu").glob("cpu[0-9]*/thermal_throttle")
    told = [_number(core / "core_throttle_count") for core in cores]
    return sum(each for each in told if each is not None) if told else None


def _withheld() -> float | None:
    found = _fields(SYS / "fs" / "cgroup" / "cpu.stat", "throttled_usec ")
    return found[0] / 1e6 if found else None


def _swapped() -> int | None:
    found = [_fields(PROC / "vmstat", f"{name} ") for name in ("pswpin", "pswpout")]
    return sum(each[0] for each in found) if all(found) else None


def _fields(path: Path, beginning: str) -> list[int]:
    """Returns the numbers of the line that begins so."""
    for line in _text(path).splitlines():
        if line.startswith(beginning):
            return [int(word) for word in line.split()[1:] if word.isdecimal()]
    return []


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _grown(before: float | None, after: float | None, scale: float = 1.0) -> float | None:
    return None if before is None or after is None else max(0.0, after - before) * scale


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
