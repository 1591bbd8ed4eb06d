"""CPU quotas of containers, as files that every language reads alike."""

from __future__ import annotations

from pathlib import Path

# What names the groups of a process, the files of all groups, and how many cores are paid for.
QUOTAS: list[tuple[str | None, dict[str, str], int | None]] = [
    ("0::/", {}, None),
    ("0::/", {"cpu.max": "max 100000"}, None),
    ("0::/", {"cpu.max": "200000 100000"}, 2),
    ("0::/", {"cpu.max": "50000 100000"}, 1),
    ("0::/a/b", {"cpu.max": "max 100000", "a/cpu.max": "350000 100000", "a/b/cpu.max": "max 100000"}, 3),
    ("0::/../elsewhere", {"cpu.max": "200000 100000"}, 2),
    ("1:memory:/\n4:cpu,cpuacct:/a\n0::/", {"cpu,cpuacct/a/cpu.cfs_quota_us": "400000"}, 4),
    ("4:cpu,cpuacct:/hidden", {"cpu,cpuacct/cpu.cfs_quota_us": "400000"}, 4),
    ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1"}, None),
    (None, {}, None),
]


def write_quotas(folder: Path, membership: str | None, files: dict[str, str]) -> tuple[Path, Path]:
    """Return the folder of all groups, and the file that names those of a process."""
    groups, own = folder / "cgroup", folder / "self"
    if membership is not None:
        own.write_text(membership + "\n")
    for name, content in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
        if "quota" in name:
            path.with_name("cpu.cfs_period_us").write_text("100000\n")
    return groups, own
