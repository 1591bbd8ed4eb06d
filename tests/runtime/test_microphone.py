"""Whether the microphone is a monitor, from what servers say."""

import pytest

from tisdiss_rt.live import microphone, sound_server

SERVER = {
    "sources": [{"index": 1, "name": "usb"}, {"index": 2, "name": "speakers.monitor"}],
    "sinks": [{"index": 5, "name": "speakers"}, {"index": 6, "name": "headset"}],
    "clients": [{"index": 40, "properties": {"application.process.id": "77"}}],
}


def streams(source, sink, **entry):
    return {
        "source_outputs": [{"client": "1", "source": 1}, {"source": source, **entry}],
        "sink_inputs": [{"client": "1", "sink": 5}, {"sink": sink, **entry}],
    }


ENTRIES = [{"client": "3", "properties": {"application.process.id": "77"}}, {"client": "40"}]


@pytest.mark.parametrize("entry", ENTRIES, ids=["PulseAudio", "PipeWire through ALSA"])
def test_a_monitor_is_told(entry):
    def said(source, sink, process="77"):
        return microphone._find_monitor(SERVER | streams(source, sink, **entry), process)

    assert said(1, 5) is None
    assert said(2, 6, process="78") is None
    assert "'speakers.monitor', that is what other programs play" in said(2, 6)
    assert "'speakers.monitor', that is our own output" in said(2, 5)


def test_names_tell():
    assert "what other programs play" in microphone.name_warning("Monitor of Built-in Audio")
    assert microphone.name_warning("USB headset") is None


@pytest.mark.parametrize("answer", ["", "no json", "[]", "sleep"])
def test_no_answer_is_no_warning(answer, tmp_path, monkeypatch):
    program = tmp_path / "pactl"
    program.write_text("#!/bin/sh\nexec sleep 20" if answer == "sleep" else f"#!/bin/sh\necho '{answer}'")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    monkeypatch.setattr(sound_server, "ANSWER_S", 0.2)
    assert microphone.warning() is None
