"""Who is who over a whole recording."""

import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import invoke

from tisdiss_rt import OutputError, Separator
from tisdiss_rt import bundle as bundles
from tisdiss_rt.talkers.activity import Activity
from tisdiss_rt.talkers.assignment import assign, grouped
from tisdiss_rt.talkers.blocks import Blocks, Describer
from tisdiss_rt.talkers.causal import CausalOrder
from tisdiss_rt.talkers.outputs import in_order
from tisdiss_rt.talkers.recording import Recording, Waiting, settled
from tisdiss_rt.talkers.voiceprints import SignatureVoiceprints, voiceprints_of

RATE = 16000
BLOCK = 4096
RHYTHMS = [(3, 0.5, 8), (1.5, 0.3, 12), (5, 1, 6), (8, 4, 6), (3, 20, 4)]


def unknown() -> Recording:
    """A recording of which nothing is known."""
    return Recording(list, RATE, lambda: 0, None)


class Tags:
    """Voiceprints of voices that are constants, which are their own prints."""

    hop, size, same, near, certainty = 512, 1, 0.05, 0.04, 100.0

    def frames(self, voices, samples):
        cut = voices[:, : voices.shape[1] // samples * samples].reshape(len(voices), -1, samples)
        heard = np.abs(cut) > 0
        weights = heard.sum(2).T / samples
        return np.abs(cut).sum(2).T[..., None] / samples, weights

    def points(self, sums, weights):
        return sums / (weights[..., None] + 1e-9)


def in_turns(voices, turn_s, gap_s, count):
    """Two voices (2, n) in turn, one after the other: (samples,), and where each turn is."""
    length, step = int(turn_s * RATE), int((turn_s + gap_s) * RATE)
    mix = np.zeros(count * step, np.float32)
    spans = [slice(k * step, k * step + length) for k in range(count)]
    for k, span in enumerate(spans):
        mix[span] = np.resize(voices[k % 2], length)
    return mix, spans


def louder(sources, spans):
    return [int(np.square(sources[:, span]).sum(1).argmax()) for span in spans]


def exchanged(seconds):
    """Voices 0.6 and 1.0 in turn, 2 s each with a pause of 0.5 s; every second time on the other output."""
    voices = np.zeros((2, seconds * RATE), np.float32)
    truth = np.zeros((2, seconds * RATE), np.float32)
    for number, start in enumerate(range(0, seconds * RATE, 5 * RATE // 2)):
        talker = number % 2
        output = talker if number % 4 < 2 else 1 - talker
        level = (0.6, 1.0)[talker]
        voices[output, start : start + 2 * RATE] = level
        truth[talker, start : start + 2 * RATE] = level
    return voices, truth


@pytest.mark.parametrize("piece", [1000, 32000, 10**7])
def test_exchanged_voices_are_put_right(piece):
    voices, truth = exchanged(40)
    pieces = (voices[:, i : i + piece] for i in range(0, voices.shape[1], piece))
    with Waiting(None, 2) as waiting:
        result = np.concatenate(list(settled(pieces, Tags(), RATE, waiting, unknown())), axis=1)
    np.testing.assert_array_equal(result, truth)


def test_what_is_right_stays_as_it_is(noise):
    voices = noise(2, 20 * RATE)
    with Waiting(None, 2) as waiting:
        result = np.concatenate(
            list(settled([voices], SignatureVoiceprints(RATE), RATE, waiting, unknown())), axis=1
        )
    np.testing.assert_array_equal(result, voices)


@pytest.mark.parametrize("samples", [0, 1, 100, BLOCK, BLOCK + 1, 20 * BLOCK - 1])
def test_any_length(noise, samples):
    voices = noise(2, samples)
    with Waiting(None, 2) as waiting:
        pieces = list(settled([voices], SignatureVoiceprints(RATE), RATE, waiting, unknown()))
    assert sum(piece.shape[1] for piece in pieces) == samples
    describer = Describer(SignatureVoiceprints(RATE), 2, RATE)
    describer.take(voices)
    assert len(describer.result()) == -(-samples // BLOCK)


def test_the_end_is_described_in_the_groups_of_the_other_languages(noise, monkeypatch):
    """The graph of a voiceprint measures loudness by the loudest frame of a call."""
    voiceprints = SignatureVoiceprints(RATE)
    frames, seen = voiceprints.frames, []
    monkeypatch.setattr(
        voiceprints,
        "frames",
        lambda voices, block: seen.append(voices.shape[1] // block) or frames(voices, block),
    )
    describer = Describer(voiceprints, 2, RATE)
    describer.take(noise(2, 16 * BLOCK + 99))
    describer.result()
    assert seen == [16 + 2, 1 + 2]


def test_a_description_does_not_depend_on_the_pieces(noise):
    voices = noise(2, 50 * BLOCK + 99)
    found = []
    for piece in (777, 10**6):
        describer = Describer(SignatureVoiceprints(RATE), 2, RATE)
        for begin in range(0, voices.shape[1], piece):
            describer.take(voices[:, begin : begin + piece])
        found.append(describer.result())
    np.testing.assert_allclose(found[0].power, found[1].power, rtol=1e-5)
    np.testing.assert_allclose(found[0].prints, found[1].prints, atol=2e-3)
    nbytes = sum(getattr(found[0], name).nbytes for name in ("levels", "prints", "weights"))
    assert nbytes / len(found[0]) < 300


def test_the_change_is_in_the_quietest_moment_and_is_a_fade():
    voices = np.stack([np.full(8 * BLOCK, 0.5), np.full(8 * BLOCK, -0.5)]).astype(np.float32)
    quiet = slice(4 * BLOCK + 1000, 4 * BLOCK + 1400)
    voices[:, quiet] = 0.0
    orders = np.array([[0, 1]] * 4 + [[1, 0]] * 4)
    with Waiting(None, 2) as waiting:
        waiting.write(voices)
        result = np.concatenate(list(in_order(waiting, orders, BLOCK, RATE)), axis=1)
    np.testing.assert_array_equal(result[:, : quiet.start], voices[:, : quiet.start])
    np.testing.assert_array_equal(result[:, quiet.stop :], voices[::-1, quiet.stop :])


@pytest.mark.parametrize("residue", [0.01, 0.25])  # more in noise, where networks take voices for two
def test_one_talker_is_on_the_first_output_and_the_others_are_silent(residue):
    """Wherever the network had them, and what it left on the other output."""
    voices, _ = exchanged(40)
    talker = np.where(voices > 0, 0.8, 0).astype(np.float32)
    talker += residue * talker[::-1]
    findings = unknown()
    with Waiting(None, 2) as waiting:
        result = np.concatenate(list(settled([talker], Tags(), RATE, waiting, findings)), axis=1)
    assert findings.one_talker
    np.testing.assert_allclose(result[0], talker.sum(0), atol=1e-6)
    assert not result[1].any()
    first, second = findings.activity
    assert first.speech_s == pytest.approx((talker.sum(0) > 0.1).sum() / RATE, rel=0.05)
    assert first.level_db == pytest.approx(10 * np.log10(0.64 * (1 + residue**2)), abs=0.2)
    assert (first.overlap_s, second) == (0.0, Activity())


def test_one_talker_is_told(voices, tmp_path):
    soundfile.write(tmp_path / "alone.wav", np.tile(voices[0], 2), RATE)
    arguments = (tmp_path / "alone.wav", "-o", tmp_path, "--provider", "cpu", "--depth", 1)
    result = invoke("separate", *arguments)
    assert result.exit_code == 0
    assert "one talker: the other voices are silent" in result.stderr
    assert soundfile.read(tmp_path / "alone_spk1.wav")[0].any()
    assert not soundfile.read(tmp_path / "alone_spk2.wav")[0].any()
    result = invoke("separate", *arguments, "--force", "--json", "--quiet")
    entry = json.loads(result.stdout)["files"][0]
    assert entry["one_talker"] is True
    assert [voice["level_db"] is None for voice in entry["voices"]] == [False, True]
    assert entry["voices"][1] == {"speech_s": 0.0, "overlap_s": 0.0, "level_db": None}


def test_three_sources_and_silence():
    rng = np.random.default_rng(0)
    tags = np.array([0.2, 0.6, 1.0], np.float32)
    voices = np.zeros((3, 60 * BLOCK), np.float32)
    for start in range(0, 60, 6):  # all three in any order, then silence
        voices[:, start * BLOCK : (start + 4) * BLOCK] = rng.permutation(tags)[:, None]
    with Waiting(None, 3) as waiting:
        result = np.concatenate(list(settled([voices], Tags(), RATE, waiting, unknown())), axis=1)
    heard = result[:, np.abs(result).min(0) > 0]
    # All are always heard together, so nothing dominates and the network's order stands.
    assert heard.shape[1] == 40 * BLOCK


def test_groups_are_of_voices_that_are_near():
    rng = np.random.default_rng(0)
    centre = np.repeat([0.0, 5.0, 9.0], [40, 5, 20])
    points = (centre + 0.3 * rng.standard_normal(65))[:, None].astype(np.float32)
    order = rng.permutation(65)
    groups = grouped(points[order], np.ones(65, np.float32), Tags(), 3)
    for a, b in itertools.combinations(range(65), 2):
        assert (groups[a] == groups[b]) == (centre[order[a]] == centre[order[b]])


def test_a_recording_without_sound_has_the_first_order():
    silence = Blocks(np.zeros((40, 2, 8)), np.zeros((40, 2, 1), np.float16), np.zeros((40, 2)))
    orders = assign(silence, Tags())
    assert (orders == [0, 1]).all()


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_talkers_who_take_turns_keep_their_outputs(voices, rhythm):
    """Neither windows nor pauses of any length exchange them."""
    separator = Separator("edge-16k", provider="cpu", precision="fp32")
    mix, spans = in_turns(voices, *rhythm)
    sources = separator.separate(mix, RATE, depth=1).sources
    assert louder(sources, spans) in ([0, 1] * (rhythm[2] // 2), [1, 0] * (rhythm[2] // 2))


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_talkers_who_take_turns_keep_their_outputs_in_streams(voices, rhythm):
    """Wherever a turn begins in a block, and on whichever output the network has the voice."""
    voiceprints = voiceprints_of(bundles.load("edge-16k"))
    mix, spans = in_turns(voices, *rhythm)
    for seed in (2, 3):
        rng = np.random.default_rng(seed)
        start = int(rng.integers(2 * BLOCK))
        separated = np.zeros((2, start + len(mix)), np.float32)
        moved = [slice(start + span.start, start + span.stop) for span in spans]
        for span, place in zip(spans, moved, strict=True):
            separated[:, place] = mix[span] * rng.permutation([[1.0], [0.003]])
        order = CausalOrder(voiceprints, 2, RATE)
        pieces = range(0, separated.shape[1], 1024)
        found = np.concatenate([order.in_order(separated[:, at : at + 1024]) for at in pieces], 1)
        assert louder(found, moved) in ([0, 1] * (rhythm[2] // 2), [1, 0] * (rhythm[2] // 2))


def test_files_wait_beside_the_results_and_leave_nothing(toy, noise, tmp_path, monkeypatch):
    places = []
    made = tempfile.TemporaryFile

    def seen(*arguments, **options):
        places.append(options["dir"])
        return made(*arguments, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", seen)
    soundfile.write(tmp_path / "in.wav", noise(RATE), RATE)
    (tmp_path / "out").mkdir()
    targets = [tmp_path / "out" / "1.wav", tmp_path / "out" / "2.wav"]
    Separator(toy, provider="cpu", threads=1).separate_file(tmp_path / "in.wav", targets)
    assert places == [tmp_path / "out"]
    assert sorted((tmp_path / "out").iterdir()) == targets


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_no_room_for_what_waits_is_told(toy, noise, tmp_path, monkeypatch):
    def full(dir):
        return Path("/dev/full").open("r+b", buffering=0)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    soundfile.write(tmp_path / "in.wav", noise(RATE), RATE)
    targets = [tmp_path / "1.wav", tmp_path / "2.wav"]
    with pytest.raises(OutputError, match="No space left"):
        Separator(toy, provider="cpu", threads=1).separate_file(tmp_path / "in.wav", targets)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]
