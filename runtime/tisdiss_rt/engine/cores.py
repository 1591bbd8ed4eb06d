"""How much of the processor a container leaves to this process, and how its workers share that.

A container may see all cores and yet get the time of two: the kernel then stops all of its threads for the
rest of each period, which is the worst that can happen to a latency.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def quota_cores() -> int | None:
    """Return how many cores the CPU quotas of the control groups pay for, at least 1; None without one."""
    try:
        lines = OWN_CGROUP.read_text().splitlines()
    except OSError:  # not Linux
        return None
    quotas = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            top = CGROUPS / controllers
            group = top / name.lstrip("/")
            folders = (group, *group.parents) if top in (group, *group.parents) else (top,)
            quotas += [quota for folder in {*folders, top} if (quota := _quota(folder)) is not None]
    return max(1, int(min(quotas))) if quotas else None


def _quota(folder: Path) -> float | None:
    """Return the cores that one group may use, in version 2 or version 1 of the interface."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # no such group, or "max"
        return None


def physical_cores() -> int:
    """Return how many physical cores this process may use; outside Linux how many logical ones there are."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cores = len({_siblings(core) for core in os.sched_getaffinity(0)})
    return min(cores, quota_cores() or cores)


def shares(count: int) -> list[set[int]] | None:
    """Divide the cores that this process may use into sets of equal size, one for each of its workers.

    Threads of one physical core stay together. Where there are fewer cores than workers, several share one.
    None where the system cannot keep a process on its cores, or where a quota leaves less than all of them:
    then other containers may be on the same ones.
    """
    if sys.platform != "linux":
        return None
    usable = os.sched_getaffinity(0)
    quota = quota_cores()
    if quota is not None and quota < len(usable):
        return None
    together: dict[str, list[int]] = {}
    for core in sorted(usable):
        together.setdefault(_siblings(core), []).append(core)
    physical = list(together.values())
    if len(physical) < count:
        physical = [[core] for cores in physical for core in cores]
    bounds = [len(physical) * worker // count for worker in range(count + 1)]
    return [
        {core for cores in physical[begin : max(end, begin + 1)] for core in cores}
        for begin, end in itertools.pairwise(bounds)
    ]


def _siblings(core: int) -> str:
    """Return what is equal for threads of one physical core; hidden in some containers."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(core)
