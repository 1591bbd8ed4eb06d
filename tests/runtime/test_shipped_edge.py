"""The shipped offline bundle: levels, single voices, silence and the joins of its windows, as trained."""

from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from example import power_db, references

import tisdiss_rt
from benchmarks.live.streaming import roughness
from benchmarks.quality.quality import improvement_db, speech_folder

RATE = 16000


@pytest.fixture(scope="module", params=["fp32", "int8"])
def separator(request: pytest.FixtureRequest) -> tisdiss_rt.Separator:
    return tisdiss_rt.Separator("edge-16k", provider="cpu", precision=request.param)


@pytest.mark.parametrize("level_db", [-30, 30])
def test_the_level_makes_no_difference(
    separator: tisdiss_rt.Separator, mix: np.ndarray, voices: np.ndarray, level_db: float
) -> None:
    gain = 10 ** (level_db / 20)
    usual = improvement_db(separator.separate(mix, RATE).sources, voices, mix)
    found = improvement_db(separator.separate(gain * mix, RATE).sources / gain, voices, mix)
    assert usual > 10
    assert found == pytest.approx(usual, abs=0.1)


def test_the_same_input_gives_the_same_bytes(mix: np.ndarray) -> None:
    exact = {"provider": "cpu", "precision": "fp32", "threads": 1}
    first, second = (
        tisdiss_rt.Separator("edge-16k", **exact).separate(mix, RATE, depth=1).sources for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()


def single_voices(whose: str) -> Iterator[tuple[str, np.ndarray]]:
    if whose == "example":
        yield from zip(("first", "second"), references(), strict=True)
        return
    try:
        folder = speech_folder()
    except SystemExit as missing:
        pytest.skip(str(missing))
    for speaker in sorted((folder / "test").iterdir()):
        path = min(speaker.glob("*.flac"))
        yield path.name, soundfile.read(path, frames=6 * RATE, dtype="float32")[0]


@pytest.mark.parametrize(("whose", "most_split"), [("example", 0), ("corpus", 1)])
def test_one_voice_comes_out_of_one_output(
    separator: tisdiss_rt.Separator, whose: str, most_split: int
) -> None:
    """Those of the example, and where the corpus is, people whom the network has never heard.

    One of these may pass for two who talk in turn, as now and then in `one-talker` of SCENES.md.
    """
    split = []
    for name, voice in single_voices(whose):
        levels = sorted(power_db(source) for source in separator.separate(voice, RATE).sources)
        if levels[1] - levels[0] < 15:
            split.append(name)
        else:
            assert levels[1] == pytest.approx(power_db(voice), abs=0.5), name
    assert len(split) <= most_split, split


def test_silence_stays_silence_also_beside_speech(separator: tisdiss_rt.Separator, mix: np.ndarray) -> None:
    silent = np.zeros(8 * RATE, np.float32)
    assert not separator.separate(silent, RATE).sources.any()
    found = separator.separate(np.concatenate([silent, mix, silent]), RATE).sources
    loudest = np.abs(found).max()
    assert np.abs(found[:, : 3 * RATE]).max() < 1e-4 * loudest
    assert np.abs(found[:, -3 * RATE :]).max() < 1e-4 * loudest


def test_windows_join_without_a_trace(
    separator: tisdiss_rt.Separator, mix: np.ndarray, voices: np.ndarray
) -> None:
    """Neighbouring samples differ by no more where a window begins or ends than elsewhere."""
    found = separator.separate(mix, RATE, window_s=1.0).sources
    assert roughness(found, RATE // 2) < 1.3
    whole = separator.separate(mix, RATE, window_s=8.0).sources
    assert improvement_db(found, voices, mix) > improvement_db(whole, voices, mix) - 3
