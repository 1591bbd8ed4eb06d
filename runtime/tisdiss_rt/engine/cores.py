"""How much of the processor a container leaves to this process.

A container may see all cores and yet get the time of two: the kernel then stops all of its threads for the
rest of each period, which is the worst that can happen to a latency.
"""

from __future__ import annotations

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
