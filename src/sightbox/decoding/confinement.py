"""What a decoder process gives up before it sees the first picture.

All of it is Linux's; elsewhere a decoder process is only apart, and can be killed. A limit that is
set here cannot be raised again: the hard limit goes with it (getrlimit(2)).
"""

import ctypes
import math
import os
import select
import sys
import threading
from pathlib import Path

if sys.platform == "linux":
    import resource

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
"""prctl(2), of linux/prctl.h."""

_OOM_SCORE = Path("/proc/self/oom_score_adj")
_FIRST_VICTIM = "1000"
"""proc(5): when the machine runs out of memory, the kernel ends this process before any other."""

_STATM = Path("/proc/self/statm")


def confine(memory_bytes: int) -> None:
    """Leaves the process no files, no sockets, no children, no core dumps, and little memory.

    Args:
        memory_bytes: Address space that it may take besides what it has now.
    """
    if sys.platform != "linux":
        return
    space = int(_STATM.read_text().split()[0]) * resource.getpagesize() + memory_bytes
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    limits = {
        resource.RLIMIT_AS: space,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
        # The three that are open stay open.
        resource.RLIMIT_NOFILE: 3,
    }
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def volunteer_for_the_oom_killer() -> None:
    """Has the kernel end this process, and not the server, when the machine's memory is full."""
    if sys.platform == "linux":
        _OOM_SCORE.write_text(_FIRST_VICTIM)


def limit_processor(seconds: float) -> None:
    """Ends the process after so much more time of a core: its owner may not be there to do it."""
    if sys.platform == "linux":
        spent = resource.getrusage(resource.RUSAGE_SELF)
        total = math.ceil(spent.ru_utime + spent.ru_stime + seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (total, resource.RLIM_INFINITY))


def end_with_owner(descriptor: int) -> None:
    """Ends the process when the other end of a socket is closed, whatever it does just then.

    ``PR_SET_PDEATHSIG`` would end it with the thread that started it, not with the process.
    """
    poll = select.poll()
    # Closing is told without being asked for (poll(2)).
    poll.register(descriptor, 0)

    def watch() -> None:
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
