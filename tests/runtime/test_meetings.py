"""One output for each person: who they are, when they talk, and a person who is known by a sample."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
import soundfile
from commands import invoke
from test_talkers import RATE, Tags, in_turns

from tisdiss_rt import AudioError, OptionError, SeparationWarning, Separator
from tisdiss_rt.talkers.activity import Activity, activity_of
from tisdiss_rt.talkers.recording import Recording, Wanted, settled, wanted_of
from tisdiss_rt.talkers.sample import Voices
from tisdiss_rt.talkers.turns import Turn, rttm
from tisdiss_rt.talkers.waiting import Waiting

TAGS = np.array([0.4, 0.65, 0.9, 1.15], np.float32)
LINE = re.compile(r"SPEAKER (\S+) 1 (\d+\.\d+) (\d+\.\d+) <NA> <NA> (spk\d+) <NA> <NA>")


def meeting(seconds, seed=0):
    """Four people in turn, two of them at once at times, on either source: sources (2, n), people (4, n)."""
    rng = np.random.default_rng(seed)
    people = np.zeros((4, seconds * RATE), np.float32)
    sources = np.zeros((2, seconds * RATE), np.float32)
    last = -1
    for begin in range(0, seconds * RATE - 3 * RATE, 5 * RATE // 2):
        talkers = rng.permutation([person for person in range(4) if person != last])[
            : 1 + (rng.random() < 0.2)
        ]
        for late, person, source in zip(range(2), talkers, rng.permutation(2), strict=False):
            span = slice(begin + late * RATE // 2, begin + 2 * RATE)
            people[person, span] = TAGS[person]
            sources[source, span] = TAGS[person]
        last = talkers[0]
    return sources, people


def told_apart(sources, **wanted):
    samples = sources.shape[1]
    recording = Recording(list, RATE, lambda: samples, samples, Wanted(**wanted))
    pieces = (sources[:, begin : begin + 30000] for begin in range(0, samples, 30000))
    with Waiting(None, 2) as waiting:
        outputs = list(settled(pieces, Tags(), RATE, waiting, recording))
    return np.concatenate(outputs, axis=1), recording


def by_beginning(people):
    return people[(people > 0).argmax(1).argsort()]


def talks(turns, number, samples):
    """When a talker talks, by the turns: (samples,)."""
    on = np.zeros(samples, bool)
    for turn in turns:
        if turn.talker == number:
            on[round(turn.start_s * RATE) : round((turn.start_s + turn.duration_s) * RATE)] = True
    return on


@pytest.mark.parametrize("talkers", [4, "auto"])
def test_everybody_has_an_output(talkers):
    sources, people = meeting(160)
    outputs, recording = told_apart(sources, talkers=talkers)
    np.testing.assert_array_equal(outputs, by_beginning(people))
    assert not recording.one_talker
    for number, person in enumerate(by_beginning(people), 1):
        on = talks(recording.turns, number, len(person))
        assert (on != (person > 0)).mean() < 0.01
        both = (person > 0) & ((people > 0).sum(0) > 1)
        activity = recording.activity[number - 1]
        assert activity.speech_s == pytest.approx((person > 0).sum() / RATE, rel=0.03)
        assert activity.overlap_s == pytest.approx(both.sum() / RATE, rel=0.1)
        assert activity.level_db == pytest.approx(20 * np.log10(person.max()), abs=0.3)


def test_of_fewer_than_there_are_the_nearest_are_one():
    sources, _ = meeting(160)
    outputs, _ = told_apart(sources, talkers=3)
    assert len(outputs) == 3
    assert (np.sort(np.unique(outputs)) == [0, *TAGS]).all()


def test_of_more_than_there_are_the_last_are_silent():
    sources, people = meeting(160)
    outputs, _ = told_apart(sources, talkers=6)
    np.testing.assert_array_equal(outputs[:4], by_beginning(people))
    assert not outputs[4:].any()


@pytest.mark.parametrize("talkers", [1, "auto"])
def test_one_person(talkers):
    _, people = meeting(60)
    sources = np.stack([people[0], np.zeros_like(people[0])])
    outputs, recording = told_apart(sources, talkers=talkers)
    np.testing.assert_array_equal(outputs, people[:1])
    assert recording.one_talker


@pytest.mark.parametrize("talkers", [1, 3, "auto"])
@pytest.mark.parametrize("samples", [1, 100, 4097])
def test_short_and_silent(talkers, samples):
    outputs, recording = told_apart(np.zeros((2, samples), np.float32), talkers=talkers)
    assert outputs.shape == (3 if talkers == 3 else 1, samples)
    assert recording.turns == []
    assert recording.activity == len(outputs) * [Activity()]


@pytest.mark.parametrize("talkers", [2, "auto"])
def test_people_who_always_talk_at_once_are_as_the_network_has_them(talkers):
    sources = np.repeat(np.array([[0.9], [0.7]], np.float32), 6 * RATE, axis=1)
    outputs, recording = told_apart(sources, talkers=talkers)
    np.testing.assert_array_equal(outputs, sources)
    assert not recording.one_talker


def test_activity():
    talks = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    power = np.array([[1.0, 9.0, 0], [3.0, 0.5, 0], [9.0, 0.1, 0], [0, 0, 0]])
    first, second, third = activity_of(talks, power, 0.5, 1.7)  # the last part has 0.2 s
    assert (first.speech_s, first.overlap_s, first.level_db) == (1.0, 0.5, 3.0)
    assert (second.speech_s, second.overlap_s, second.level_db) == (1.2, 0.5, -7.0)
    assert third == Activity(0.0, 0.0, None)


def test_what_is_quieter_than_a_residue_is_nobody():
    sources, people = meeting(160)
    leaking = sources + 0.1 * sources[::-1]
    _, recording = told_apart(leaking, talkers=4)
    spoken_s = sum(turn.duration_s for turn in recording.turns)
    assert spoken_s == pytest.approx((people > 0).sum() / RATE, rel=0.02)


def test_the_number_of_talkers_is_checked():
    for talkers in (0, 9, -1, 2.5, 2.0, True, "many"):
        with pytest.raises(OptionError, match="from 1 to 8"):
            Wanted(talkers)


def test_more_sources_than_can_be_told_apart_are_refused():
    voices = Voices(Tags(), RATE)
    assert wanted_of("auto", None, "mix", 8, voices, 4).most == 8
    assert wanted_of("auto", None, "mix", 8, voices, 5).most == 6
    assert wanted_of(3, None, "mix", 8, voices, 6).talkers == 3
    assert wanted_of(None, None, "mix", 8, voices, 6).talkers is None
    with pytest.raises(
        OptionError, match="of a network of 6 sources at most 3 talkers can be told apart, not 4"
    ):
        wanted_of(4, None, "mix", 8, voices, 6)


def test_rttm_has_a_line_for_each_turn():
    turns = [Turn(1, 0.0, 1.25), Turn(2, 61.04, 0.3)]
    lines = rttm(turns, "board meeting").splitlines()
    assert [LINE.fullmatch(line).groups() for line in lines] == [
        ("board_meeting", "0.000", "1.250", "spk1"),
        ("board_meeting", "61.040", "0.300", "spk2"),
    ]


@pytest.mark.parametrize("talkers", [None, 4, "auto"])
def test_the_person_of_a_sample_is_first(talkers):
    sources, people = meeting(160)
    if talkers is None:
        sources, people = np.where(sources > TAGS[1], 0, sources), people[:2]
    for person in range(len(people)):
        outputs, recording = told_apart(sources, talkers=talkers, voice=TAGS[person : person + 1])
        assert recording.found
        np.testing.assert_array_equal(outputs[0], people[person])
        assert len(outputs) == len(people)
    same, recording = told_apart(sources, talkers=talkers, voice=np.array([3], np.float32))
    assert recording.found is False
    np.testing.assert_array_equal(same, told_apart(sources, talkers=talkers)[0])


@pytest.fixture(scope="module")
def conversation(tmp_path_factory, voices):
    """A file in which the two people of the example take turns, and a sample of the second."""
    folder = tmp_path_factory.mktemp("conversation")
    mix, spans = in_turns(voices, 3, 0.5, 8)
    soundfile.write(folder / "talk.wav", mix, RATE)
    soundfile.write(folder / "second.wav", voices[1], RATE)
    return folder, spans


def separated(*arguments):
    result = invoke("separate", *arguments, "--provider", "cpu", "--depth", 1)
    assert result.exit_code == 0, result.output
    return result


def test_a_file_for_each_person_and_one_that_says_who_talks_when(conversation, tmp_path):
    folder, spans = conversation
    arguments = [folder / "talk.wav", "-o", tmp_path, "--talkers", "auto", "--voice", folder / "second.wav"]
    result = separated(*arguments)
    assert ", 2 talkers, the voice of the sample is the first" in result.stderr
    names = ["talk.rttm", "talk_spk1.wav", "talk_spk2.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [line.rpartition("/")[2] for line in result.stdout.splitlines()] == [*names[1:], names[0]]
    lines = [LINE.fullmatch(line).groups() for line in (tmp_path / "talk.rttm").read_text().splitlines()]
    told = [Turn(int(talker[3:]), float(start), float(length)) for _, start, length, talker in lines]
    samples = soundfile.info(tmp_path / "talk_spk1.wav").frames
    for number, own in ((1, spans[1::2]), (2, spans[::2])):
        true = np.zeros(samples, bool)
        for span in own:
            true[span] = True
        on = talks(told, number, samples)
        assert on[true].mean() > 0.75
        assert on[~true].mean() < 0.15
        voice, _ = soundfile.read(tmp_path / f"talk_spk{number}.wav")
        assert np.square(voice[true]).sum() > 10 * np.square(voice[~true]).sum()
    assert "skipped" in separated(*arguments).stderr
    again = json.loads(separated(*arguments, "--force", "--json", "--quiet").stdout)["files"][0]
    assert [Turn(**turn) for turn in again["turns"]] == told
    assert again["voice_found"] is True
    assert again["rttm"] == str(tmp_path / "talk.rttm")


@pytest.mark.parametrize("theirs", [None, rttm([Turn(1, 0.5, 2.25)], "talk")])
def test_of_results_that_are_replaced_nothing_is_left(conversation, tmp_path, theirs):
    folder, _ = conversation
    arguments = [folder / "talk.wav", "-o", tmp_path, "--force"]
    separated(*arguments, "--talkers", 4, "--channels", "left")
    soundfile.write(tmp_path / "talk_spk8.wav", np.zeros(10), RATE)  # somebody else's
    if theirs:
        (tmp_path / "talk.rttm").write_text(theirs)
    separated(*arguments, "--channels", "split")  # which has names of its own
    assert len(list(tmp_path.glob("talk_spk*.wav"))) == 5
    separated(*arguments)
    left = ["talk_spk1.wav", "talk_spk2.wav", "talk_spk8.wav"]
    assert sorted(path.name for path in tmp_path.glob("talk_spk*.wav")) == left
    assert (tmp_path / "talk.rttm").exists() == bool(theirs)
    (tmp_path / "talk.rttm").write_text(rttm([Turn(1, 0.0, 1.0)], "talk"))
    for number in (1, 2):  # a set that is not of this input, with turns of its own
        soundfile.write(tmp_path / f"talk_spk{number}.wav", np.zeros(10), RATE)
    separated(*arguments)
    assert (tmp_path / "talk.rttm").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="all names are text there")
def test_a_name_that_is_no_text(conversation, tmp_path):
    folder, _ = conversation
    shutil.copy(folder / "talk.wav", tmp_path / os.fsdecode(b"\xff.wav"))
    separated(tmp_path / os.fsdecode(b"\xff.wav"), "-o", tmp_path / "out", "--talkers", 2, "--quiet")
    names = sorted(os.fsencode(path.name) for path in (tmp_path / "out").iterdir())
    assert names == [b"\xff.rttm", b"\xff_spk1.wav", b"\xff_spk2.wav"]
    assert (tmp_path / "out" / os.fsdecode(b"\xff.rttm")).read_bytes().startswith(b"SPEAKER \xff 1 ")


def test_voices_of_more_people_that_another_run_found_are_removed(conversation, tmp_path):
    folder, _ = conversation
    arguments = [folder / "talk.wav", "-o", tmp_path, "--force", "--talkers"]
    separated(*arguments, 4)
    assert len(list(tmp_path.glob("talk_spk*.wav"))) == 4
    soundfile.write(tmp_path / "talk_spk8.wav", np.zeros(10), RATE)  # somebody else's
    separated(*arguments, "auto")
    left = ["talk_spk1.wav", "talk_spk2.wav", "talk_spk8.wav"]
    assert sorted(path.name for path in tmp_path.glob("talk_spk*.wav")) == left


def test_results_of_people_appear_together_or_not_at_all(toy, noise, tmp_path):
    soundfile.write(tmp_path / "in.wav", noise(RATE), RATE)
    separator = Separator(toy, provider="cpu", threads=1)
    targets = [tmp_path / "out" / f"{number}.wav" for number in range(1, 4)]
    with pytest.raises(Exception, match="cannot write"):
        separator.separate_file(tmp_path / "in.wav", targets, talkers=3, rttm=tmp_path / "gone" / "in.rttm")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]
    with pytest.raises(OptionError, match="2 output files for 3"):
        separator.separate_file(tmp_path / "in.wav", targets[:2], talkers=3)
    with pytest.raises(OptionError, match="split"):
        separator.separate(noise(RATE), RATE, channels="split", talkers=2)


@pytest.mark.parametrize("talkers", [1, 2, 3, "auto"])
@pytest.mark.parametrize("toy_name", ["gain_toy", "stream_toy"])
def test_what_is_nothing_at_the_rate_of_the_network_has_whole_results(request, toy_name, tmp_path, talkers):
    folder = request.getfixturevalue(toy_name)
    soundfile.write(tmp_path / "a.wav", np.full(1, 0.5), 3 * RATE)
    manifest = tmp_path / "in.jsonl"
    manifest.write_text(
        '{"audio_filepath": "a.wav"}\n{"audio_filepath": "a.wav", "offset": 0, "duration": 0}\n'
    )
    options = ("--bundle", folder, "--provider", "cpu", "--talkers", talkers)
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert invoke("separate", tmp_path / "a.wav", "-o", alone, *options).exit_code == 0
    assert invoke("separate", "--manifest", manifest, "-o", out, "--workers", 1, *options).exit_code == 0
    people = 1 if talkers == "auto" else talkers
    for found, files in ((alone, 1), (out, 2)):
        assert len(list(found.rglob("*.rttm"))) == files
        voices = list(found.rglob("*.wav"))
        assert len(voices) == files * people
        assert {soundfile.info(voice).frames for voice in voices} == {1}
    result = Separator(folder, provider="cpu").separate(np.ones(1), 3 * RATE, talkers=talkers)
    assert (result.sources.shape, result.turns) == ((people, 1), [])


def test_arrays_with_people_and_a_sample(toy, noise):
    separator = Separator(toy, provider="cpu", threads=1)
    result = separator.separate(noise(RATE), RATE, talkers=3, voice=(noise(3 * RATE), RATE))
    assert result.sources.shape == (3, RATE)
    assert isinstance(result.turns, list)
    assert result.voice_found in (True, False)
    plain = separator.separate(noise(RATE), RATE)
    assert plain.turns is None
    assert plain.voice_found is None


def test_a_sample_is_read_once_unless_it_changes(toy, noise, tmp_path):
    separator, sample = Separator(toy, provider="cpu", threads=1), tmp_path / "sample.wav"
    soundfile.write(sample, np.stack([noise(3 * RATE), np.zeros(3 * RATE)], axis=1), RATE)
    for time in (None, (0, 0)):
        os.utime(sample, time)
        with pytest.warns(SeparationWarning, match="channel 2 is silent") as caught:
            for _ in range(3):
                separator.separate(noise(RATE), RATE, voice=sample)
        assert len(caught) == 1  # for each time that it is read


def test_a_sample_needs_speech(toy, noise, tmp_path):
    separator = Separator(toy, provider="cpu", threads=1)
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    for sample in (tmp_path / "silence.wav", (noise(RATE // 2), RATE)):
        with pytest.raises(AudioError, match="at least 1 s of speech"):
            separator.separate(noise(RATE), RATE, voice=sample)
    with pytest.raises(AudioError, match="no such file"):
        separator.separate(noise(RATE), RATE, voice=tmp_path / "gone.wav")
