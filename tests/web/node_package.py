"""Builds the package of runtime/web, and programs that find it as `tisdiss-rt`, in build/web.

What npm fetches stays there until `runtime/web/package.json` changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from embedding import REPOSITORY, build, need, once, run
from filelock import FileLock

BUILD = REPOSITORY / "build" / "web"
SOURCES = REPOSITORY / "runtime" / "web"
PROGRAMS = Path(__file__).parent / "programs"


def installed() -> None:
    """Install what the package needs to be built and run; skip where npm cannot."""
    need("node", "npm")
    BUILD.mkdir(parents=True, exist_ok=True)
    wanted, there = SOURCES / "package.json", BUILD / "package.json"
    with FileLock(BUILD / "install.lock"):
        if there.exists() and there.read_bytes() == wanted.read_bytes():
            return
        fetched = BUILD / "fetched"
        fetched.mkdir(exist_ok=True)
        shutil.copy(wanted, fetched)
        # Scripts of packages would fetch libraries for graphics cards.
        done = run(
            "npm", "install", "--prefix", fetched, "--ignore-scripts", "--no-package-lock", "--no-audit"
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot install what runtime/web needs: {done.stderr.strip()[-300:]}")
        shutil.rmtree(BUILD / "node_modules", ignore_errors=True)
        (fetched / "node_modules").rename(BUILD / "node_modules")
        shutil.copy(wanted, there)


def built() -> Path:
    """Return the folder of the programs, where the package is found as `tisdiss-rt`."""
    installed()

    def into(folder: Path) -> None:
        del folder  # sources and programs are where node finds what npm installed
        for source in (SOURCES, PROGRAMS):
            target = BUILD / source.relative_to(REPOSITORY)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("node_modules", "package"))
        for name in ("runtime/tisdiss_rt", "LICENSE"):
            if not (BUILD / name).exists():
                (BUILD / name).symlink_to(REPOSITORY / name)
        build("node", BUILD / "runtime" / "web" / "build.mjs", BUILD / "node_modules" / "tisdiss-rt")
        build("node", BUILD / "runtime" / "web" / "build-demo.mjs", BUILD / "page")
        programs = BUILD / "tests" / "web" / "programs"
        build("node", BUILD / "node_modules" / "typescript" / "lib" / "tsc.js", "--noEmit", "-p", programs)
        for source, target, platform in (
            ("decisions.ts", "decisions.mjs", "node"),
            ("providers.ts", "providers.mjs", "node"),
            ("page.mjs", "page.js", "browser"),
        ):
            options = ("--bundle", f"--platform={platform}", "--format=esm", "--log-level=warning")
            if platform == "node":
                options += ("--external:onnxruntime-*",)
            esbuild = ("node", BUILD / "node_modules" / "esbuild" / "bin" / "esbuild")
            build(*esbuild, programs / source, *options, f"--outfile={programs / target}")

    once("web", into)
    return BUILD / "tests" / "web" / "programs"
