"""What `npm pack` makes works in a folder of its own, with the programs of docs/web.md."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from embedding import REPOSITORY, run
from node_package import BUILD, SOURCES

import tisdiss_rt
from tisdiss_rt import bundle

EXAMPLE = Path(tisdiss_rt.__file__).parent / "example" / "two_voices.wav"
PAGE = (REPOSITORY / "docs" / "web.md").read_text(encoding="utf-8")
IN_NODE, IN_BROWSER, LIVE = re.findall(r"^```js\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# What the excerpt of a live program is called by: chunks of a second of noise.
AROUND_LIVE = """
import { Separator, loadBundle } from "tisdiss-rt";
let given = 0;
function play(voice) {
  given += voice.length;
}
const noise = () => Float32Array.from({ length: 128 }, () => Math.random() - 0.5);
for (let at = 0; at < 16000; at += 128) onChunk(noise()); // as they come: nobody waits
await last;
console.log(given, stream.depth >= 1, stream.misses);
"""
USER = """
import { BundleError, Separator, loadBundle, type Plan, type Separation, type Step } from "tisdiss-rt";

const separator: Separator = await Separator.open(await loadBundle("edge-16k"), { threads: 1 });
const result: Separation = await separator.separate(new Float32Array(16000), { depth: 1 });
const steps: readonly Step[] = result.steps;
const plan: Plan = result.plan;
const error: Error = new BundleError("none");
console.log(steps[0]!.voices?.[0]?.siSdrDb, plan.qualityDb, error.message);
// @ts-expect-error: a depth is a number
await separator.separate(new Float32Array(16000), { depth: "deep" });
"""


@pytest.fixture(scope="module")
def project(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has installed the packed package, beside ONNX Runtime."""
    folder = tmp_path_factory.mktemp("project")
    packed = run("npm", "pack", "--json", "--pack-destination", folder, BUILD / "node_modules" / "tisdiss-rt")
    assert packed.returncode == 0, packed.stderr
    (about,) = json.loads(packed.stdout)
    assert about["version"] == tisdiss_rt.__version__
    (folder / "package.json").write_text('{"type": "module"}')
    options = ("--offline", "--no-audit", "--no-package-lock", "--legacy-peer-deps")
    done = run("npm", "install", "--prefix", folder, *options, folder / about["filename"])
    assert done.returncode == 0, done.stderr
    for name in ("onnxruntime-node", "onnxruntime-common"):
        (folder / "node_modules" / name).symlink_to(BUILD / "node_modules" / name)
    return folder


def program(project: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (project / "program.mjs").write_text(text)
    command = ("node", "program.mjs", *arguments)
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("script", ["build.mjs", "build-demo.mjs"])
def test_a_folder_with_other_files_is_left(programs: Path, tmp_path: Path, script: str) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    done = run("node", BUILD / "runtime" / "web" / script, tmp_path)
    assert done.returncode != 0
    assert "has other files: choose a new or empty folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_is_in_it(project: Path) -> None:
    """Code, its types and the bundles; no version of its own in the sources."""
    package = project / "node_modules" / "tisdiss-rt"
    names = {path.name for path in package.iterdir()}
    assert names == {"LICENSE", "README.md", "bundles", "dist", "package.json"}
    assert {path.name for path in (package / "bundles").iterdir()} == set(bundle.shipped())
    assert {"node.js", "node.d.ts", "browser.js", "browser.d.ts"} <= {
        p.name for p in (package / "dist").iterdir()
    }
    assert tisdiss_rt.__version__ not in (SOURCES / "package.json").read_text()


def test_the_program_in_node(project: Path) -> None:
    mix, _ = soundfile.read(EXAMPLE, dtype="float32")
    mix.tofile(project / "talk.f32")
    done = program(project, IN_NODE, "talk.f32")
    assert re.fullmatch(
        r"windows of [\d.]+ s, \d repetitions expected\nquality expected: -?\d+\.\d dB\n", done.stdout
    )
    assert done.stderr.endswith("6 of 6 s\n")
    expected = tisdiss_rt.Separator("edge-16k", "cpu").separate(mix, 16000).sources
    voices = np.stack([np.fromfile(project / f"voice{number}.f32", np.float32) for number in (1, 2)])
    assert voices.shape == expected.shape
    for voice, wanted in zip(voices, expected, strict=True):  # the depth that is in time may be another one
        assert np.corrcoef(voice, wanted)[0, 1] > 0.8
    assert len(IN_NODE.splitlines()) <= 22


def test_the_live_program(project: Path) -> None:
    """With the bundle where a page has it."""
    (project / "bundles").symlink_to(project / "node_modules" / "tisdiss-rt" / "bundles")
    given, is_deep, _ = program(
        project, AROUND_LIVE.replace("const noise", f"{LIVE}\nconst noise")
    ).stdout.split()
    assert (int(given), is_deep) == (16000 - 128, "true")


def test_types(project: Path) -> None:
    """A program in TypeScript finds the types, also by the rules of Node."""
    (project / "user.mts").write_text(USER)
    tsc = BUILD / "node_modules" / "typescript" / "lib" / "tsc.js"
    strict = (
        "--noEmit",
        "--strict",
        "--noUncheckedIndexedAccess",
        "--module",
        "nodenext",
        "--target",
        "es2022",
    )
    command = ("node", tsc, *strict, "user.mts")
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
