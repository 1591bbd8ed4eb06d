"""Constants that Python shares with C++ and TypeScript are the same in all, or they would decide differently.

Every constant of the C++ sources is either a twin of one in Python or named here as C++'s own, so that no new
one is forgotten; so is every constant of the TypeScript sources that is exported. They are read from the
sources: nothing is compiled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from embedding import REPOSITORY, RUNTIME

from tisdiss_rt import audio, bundle, external_data
from tisdiss_rt.engine import backends, base, onnx_runtime
from tisdiss_rt.engine import streaming as streaming_engine
from tisdiss_rt.estimate import estimator, features, statistics
from tisdiss_rt.manifest import limits, schema
from tisdiss_rt.planning import autoselect, benchmark, controller, forecast
from tisdiss_rt.streaming import native_core, stream, trailing
from tisdiss_rt.talkers import assignment, blocks, causal, order, outputs

SOURCES = RUNTIME / "cpp" / "src"
WEB = RUNTIME / "web" / "src"
OLDEST = re.search(r'"onnxruntime>=1\.(\d+)"', (REPOSITORY / "pyproject.toml").read_text())[1]

TWINS: dict[str, list[Any]] = {
    "assignment.cpp:kActiveDb": [assignment.ACTIVE_DB],
    "assignment.cpp:kAlike": [assignment.ALIKE],
    "assignment.cpp:kChange": [assignment.CHANGE],
    "assignment.cpp:kChangeInSound": [assignment.CHANGE_IN_SOUND],
    "assignment.cpp:kDominant": [assignment.DOMINANT],
    "assignment.cpp:kFadeS": [outputs.FADE_S],
    "assignment.cpp:kFewBlocks": [assignment.FEW_BLOCKS],
    "assignment.cpp:kLongest": [assignment.LONGEST],
    "assignment.cpp:kMostStretches": [assignment.MOST_STRETCHES],
    "assignment.cpp:kResidueShare": [assignment.RESIDUE_SHARE],
    "assignment.cpp:kRounds": [assignment.ROUNDS],
    "assignment.cpp:kStepS": [outputs._STEP_S],
    "assignment.cpp:kTogether": [blocks._TOGETHER],
    "assignment.cpp:kTogetherShare": [assignment.TOGETHER_SHARE],
    "assignment.cpp:kTooFewBlocks": [assignment.TOO_FEW_BLOCKS],
    "causal.cpp:kActiveDb": [assignment.ACTIVE_DB],
    "causal.cpp:kChange": [causal.CHANGE],
    "causal.cpp:kChangeInSound": [causal.CHANGE_IN_SOUND],
    "causal.cpp:kDoubt": [causal.DOUBT],
    "causal.cpp:kFadeS": [causal.FADE_S],
    "causal.cpp:kKnown": [causal.KNOWN],
    "causal.cpp:kLevelHalfLifeS": [causal.LEVEL_HALF_LIFE_S],
    "causal.cpp:kQuiet": [causal.QUIET],
    "causal.cpp:kTalkerHalfLifeS": [causal.TALKER_HALF_LIFE_S],
    "voiceprints.cpp:kBlockS": [blocks.BLOCK_S],
    "manifest.cpp:kVoice": [bundle.VOICE],
    "estimate.cpp:kDeepest": [features.DEEPEST],
    "estimate.h:kAloneDepth": [estimator.ALONE_DEPTH],
    "estimate.cpp:kFrameS": [statistics.FRAME_S],
    "estimate.cpp:kLeast": [features.LEAST],
    "estimate.cpp:kLeastDb": [estimator.LEAST_DB],
    "estimate.cpp:kMostDb": [estimator.MOST_DB],
    "estimate.cpp:kQuiet": [features.QUIET],
    "estimate.cpp:kSilent": [estimator.SILENT],
    "estimate.h:kMostRepetitions": [limits.DEEPEST],
    "estimate.h:kMostVoices": [limits.MOST_SOURCES],
    "manifest.cpp:kEstimate": [bundle.ESTIMATE],
    "manifest.cpp:kGainFeatures": [schema.GAIN_FEATURES],
    "manifest.cpp:kRepeatedFeatures": [schema.REPEATED_FEATURES],
    "manifest.cpp:kSplitFeatures": [schema.SPLIT_FEATURES],
    "manifest.h:kChangeOutput": [bundle.CHANGE],
    "stream.cpp:kAverageS": [native_core.AVERAGE_S],
    "trailing.cpp:kEveryS": [trailing.EVERY_S],
    "trailing.h:kTrailingS": [trailing.WINDOW_S],
    "windows.cpp:kSilence": [audio.SILENCE],
    "api.cpp:kLoudest": [stream.LOUDEST],
    "budget.h:kMargin": [forecast.MARGIN],
    "budget.h:kQuantile": [forecast.QUANTILE],
    "budget.h:kHistory": [forecast.HISTORY],
    "budget.h:kMemorySteps": [forecast.MEMORY_STEPS],
    "budget.h:kTolerated": [forecast.TOLERATED],
    "budget.h:kRetrySteps": [controller.RETRY_STEPS],
    "budget.h:kCalmS": [forecast.CALM_S],
    "budget.h:kCalmGaps": [forecast.CALM_GAPS],
    "budget.h:kMostLateSteps": [forecast.MOST_LATE_STEPS],
    "budget.h:kLeastMs": [forecast.LEAST_MS],
    "manifest.cpp:kFormat": [bundle.FORMAT],
    "manifest.cpp:kDeepest": [limits.DEEPEST],
    "manifest.cpp:kLeastHz": [limits.LEAST_HZ],
    "manifest.cpp:kLongestHopS": [limits.LONGEST_HOP_S],
    "manifest.cpp:kLongestS": [limits.LONGEST_S],
    "manifest.cpp:kManifestName": [bundle.MANIFEST_NAME],
    "external_data.cpp:kDataLocation": [external_data.DATA_LOCATION],
    "external_data.cpp:kExternalData": [external_data.EXTERNAL_DATA],
    "external_data.cpp:kMostNested": [external_data.MOST_NESTED],
    "files.cpp:kMostFileBytes": [bundle.MOST_FILE_BYTES],
    "manifest.cpp:kMostManifestBytes": [bundle.MOST_MANIFEST_BYTES],
    "manifest.cpp:kMostNumbers": [limits.MOST_NUMBERS],
    "manifest.cpp:kMostHz": [limits.MOST_HZ],
    "manifest.cpp:kMostSources": [limits.MOST_SOURCES],
    "manifest.cpp:kMostWindows": [limits.MOST_WINDOWS],
    "manifest.h:kGraphNames": [bundle.GRAPHS],
    "ort.cpp:kCpuProvider": [onnx_runtime.CPU],
    "ort.cpp:kCudaProvider": [onnx_runtime.CUDA],
    "ort.cpp:kNoTelemetry": [onnx_runtime.NO_TELEMETRY],
    "ort.cpp:kOldestVersion": [int(OLDEST)],
    "planner.cpp:kMeasuredSteps": [benchmark.MEASURED_STEPS],
    "planner.cpp:kMeasuredDepth": [benchmark.MEASURED_DEPTH],
    "planner.cpp:kMeasuringS": [benchmark.MEASURING_S],
    "planner.cpp:kWindowStretch": [schema.WINDOW_STRETCH],
    "sessions.cpp:kMostThreads": [base.MOST_THREADS],
    "planner.cpp:kNoiseLevel": [benchmark.NOISE_LEVEL],
    "stream_steps.cpp:kApart": [streaming_engine.APART],
    "stream_steps.cpp:kRoom": [streaming_engine.ROOM],
    "windows.cpp:kMargin": [order._MARGIN],
}
OF_CPP_ALONE = {
    "api.cpp:kPieceS",
    "assignment.cpp:kTiny",
    "causal.cpp:kTiny",
    "estimate.cpp:kMostFeatures",
    "estimate.cpp:kTiny",
    "voiceprints.cpp:kTiny",
    "budget.h:kUnknown",  # NaN, where Python has None
    "denormals.h:kZeroes",
    "ort.cpp:kApiVersion",
    "ort.cpp:kEnvironmentVariable",
    "planner.cpp:kLongestHalf",
    "planner.cpp:kNothing",
    "sha256.cpp:kRound",
    "structs.h:kLargestStruct",
    "windows.cpp:kPi",
}


def constants() -> Iterator[tuple[str, str]]:
    """Names, with the file before them, and the expressions of all constants in C++."""
    for path in sorted(SOURCES.iterdir()):
        for name, text in re.findall(
            r"constexpr [^()=;]*?\b(k[A-Z]\w*) = (.*?);", path.read_text(), re.DOTALL
        ):
            yield f"{path.name}:{name}", text


def test_every_constant_is_known() -> None:
    assert {name for name, _ in constants()} == TWINS.keys() | OF_CPP_ALONE
    total = sum(
        len(re.findall(r"\bconstexpr\b[^()=;]*\bk[A-Z]\w* *[={]", path.read_text()))
        for path in SOURCES.iterdir()
    )
    assert len(list(constants())) == total


@pytest.mark.parametrize("name", TWINS)
def test_twins(name: str) -> None:
    (text,) = [text for found, text in constants() if found == name]
    text = re.sub(r"\b([\d.e+-]+)f\b", r"\1", text).translate(str.maketrans("{}", "()"))
    assert [ast.literal_eval(text)] * len(TWINS[name]) == TWINS[name]


# Where the names of TypeScript are in Python; some have an underscore there.
IN_PYTHON: dict[str, list[ModuleType]] = {
    "assignment.ts": [assignment],
    "audio.ts": [stream],
    "causal.ts": [causal],
    "controller.ts": [controller],
    "engine.ts": [base],
    "estimate.ts": [estimator],
    "external-data.ts": [external_data],
    "features.ts": [features],
    "forecast.ts": [forecast],
    "manifest.ts": [bundle, schema, limits],
    "node.ts": [onnx_runtime],
    "numbers.ts": [audio],
    "order.ts": [order],
    "planner.ts": [benchmark],
    "providers.ts": [autoselect, backends],
    "settling.ts": [outputs, blocks],
    "statistics.ts": [statistics],
    "stream-steps.ts": [streaming_engine],
    "stream.ts": [stream, native_core],
    "trailing.ts": [trailing],
    "voiceprints.ts": [blocks],
}


def constants_of_web() -> dict[str, str]:
    """Expressions of all exported constants in TypeScript, by their file and name."""
    pattern = re.compile(r"^export const ([A-Z]\w*)\b[^=]* = (.*?)(?: as const)?;", re.MULTILINE | re.DOTALL)
    return {
        f"{path.name}:{name}": text
        for path in WEB.iterdir()
        for name, text in pattern.findall(path.read_text())
    }


@pytest.mark.parametrize("name", constants_of_web())
def test_twins_in_typescript(name: str) -> None:
    file, constant = name.split(":")
    expected = [
        vars(module)[key]
        for module in IN_PYTHON[file]
        for key in (constant, f"_{constant}")
        if key in vars(module)
    ]
    assert expected, f"{name} is in none of the modules: it belongs to TypeScript alone, and is not exported"
    found = ast.literal_eval(re.sub(r"\b([A-Za-z]\w*):", r'"\1":', constants_of_web()[name]))
    assert [tuple(found) if isinstance(found, list) else found] * len(expected) == expected


def test_every_file_of_typescript_is_known() -> None:
    assert {name.split(":")[0] for name in constants_of_web()} == IN_PYTHON.keys()
