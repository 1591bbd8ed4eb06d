"""A microphone and headphones without any hardware, so that live sound can be tested on any Linux machine.

A PulseAudio daemon of its own, in a folder of its own, with two null sinks::

    paplay ──> virtmic ──> its monitor is the microphone    headphones are virtspk ──> its monitor ──> parec

Programs find them by `VirtualSound.environment`; nothing else on the machine is affected.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from ctypes.util import find_library
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

LEVEL = 20  # of real-time scheduling, above the program that is tested
QUANTUM = 1024  # samples of PipeWire's period at least, as where it knows that the machine is virtual


def missing() -> str:
    """Return the Debian packages that are missing."""
    packages = {"pulseaudio": shutil.which("pulseaudio"), "pulseaudio-utils": shutil.which("parec")}
    packages["libportaudio2"] = find_library("portaudio")
    plugins = ("/usr/lib", "/usr/lib64")
    found = any(Path(folder).glob("**/libasound_module_pcm_pulse.so") for folder in plugins)
    packages["libasound2-plugins"] = "there" if found else None
    return " ".join(name for name, there in packages.items() if not there)


def _prompt(process: int = 0) -> None:
    """Give the process real-time priority where that is allowed, as sound servers on a desktop have."""
    with suppress(OSError):
        os.sched_setscheduler(process, os.SCHED_RR, os.sched_param(LEVEL))


class Tap:
    """Everything that a sink plays from now on, with the time at which it came.

    Attribute ``start_s``, after `close`: when, on the clock of ``time.monotonic``, the first sample was due.
    """

    start_s: float

    def __init__(self, process: subprocess.Popen[bytes], sample_rate: int) -> None:
        self._process, self._rate = process, sample_rate
        self._pieces: list[tuple[float, bytes]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while piece := os.read(self._process.stdout.fileno(), 65536):
            self._pieces.append((time.monotonic(), piece))

    def close(self) -> np.ndarray:
        """Stop recording and return the sound (n,)."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        ends = np.cumsum([len(piece) // 4 for _, piece in self._pieces])
        came_s = np.array([came_s for came_s, _ in self._pieces])
        self.start_s = float(np.median(came_s - ends / self._rate))
        return np.frombuffer(b"".join(piece for _, piece in self._pieces), np.float32)


class VirtualSound:
    """The daemon, for as long as the block runs. Attribute ``environment`` is for programs that use it."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> VirtualSound:
        self._folder = Path(tempfile.mkdtemp(prefix="sound"))
        self._messages = (self._folder / "messages").open("wb")
        ours = ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH")
        self.environment = {
            **os.environ,
            **dict.fromkeys(ours, str(self._folder)),
            "PULSE_SERVER": f"unix:{self._folder / 'socket'}",
            "PULSE_SOURCE": "virtmic.monitor",
            "PULSE_SINK": "virtspk",
        }
        self.launch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._messages.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def messages(self) -> list[str]:
        """Return the lines that servers and programs have written on standard error so far."""
        return (self._folder / "messages").read_text(errors="replace").splitlines()

    def play(self, path: Path, sink: str = "virtmic") -> subprocess.Popen[bytes]:
        """Play a file into the microphone, or into the headphones if ``sink`` is ``virtspk``."""
        return self.start("paplay", "--latency-msec=60", "-d", sink, str(path))

    def add_microphone(self, name: str) -> str:
        """Make a silent microphone; return its module, for ``control("unload-module", ...)``."""
        return self.control("load-module", "module-null-source", f"source_name={name}", f"rate={self._rate}")

    def control(self, *command: str) -> str:
        """Run ``pactl`` with a command and return what it prints."""
        done = self._run("pactl", *command)
        if done.returncode:
            raise RuntimeError(f"pactl {' '.join(command)}: {done.stderr.decode()}")
        return str(done.stdout.decode()).strip()

    def tap(self, sink: str) -> Tap:
        """Record what ``virtmic`` or ``virtspk`` plays."""
        return self.tap_source(f"{sink}.monitor")

    def tap_source(self, source: str) -> Tap:
        """Record a microphone."""
        form = ("--raw", "--format=float32le", f"--rate={self._rate}", "--channels=1", "--latency-msec=20")
        process = self.start("parec", "-d", source, *form, stdout=subprocess.PIPE)
        return Tap(process, self._rate)

    def launch(self) -> None:
        """Start the daemon, for the first time or again after `kill`."""
        options = ["--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--use-pid-file=no"]
        # Without norewinds the output stalls at the start.
        form = f"rate={self._rate} format=float32le channels=1 norewinds=1"
        modules = [f"module-native-protocol-unix auth-anonymous=1 socket={self._folder / 'socket'}"]
        modules += [f"module-null-sink sink_name={name} {form}" for name in ("virtmic", "virtspk")]
        loaded = [part for module in modules for part in ("-L", module)]
        self._daemons = [self.start("pulseaudio", "-n", *options, *loaded)]
        self.wait_for("pactl", "info")
        _prompt(self._daemons[0].pid)  # it has given it up

    def wait_for(self, *command: str) -> None:
        """Run a command over and over until it succeeds; without success the servers are stopped."""
        for _ in range(100):
            if self._run(*command).returncode == 0:
                return
            time.sleep(0.1)
        self.__exit__(None, None, None)
        raise RuntimeError(f"the sound server does not start: {' '.join(command)} fails")

    def stop(self) -> None:
        """Suspend the daemons, so that they exist but no longer answer."""
        for daemon in self._daemons:
            daemon.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Remove both devices at once."""
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait()

    def start(self, *command: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a program that ends with the block, with real-time priority where that is allowed."""
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=self._messages,
            preexec_fn=_prompt,
        )
        self._processes.append(process)
        return process

    def _run(self, *command: str) -> Any:
        return subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True)


class VirtualPipeWire(VirtualSound):
    """The same devices of PipeWire, with its session manager and its server for programs of PulseAudio."""

    @staticmethod
    def missing() -> str:
        """Return the Debian packages that are missing beside those of `missing`."""
        programs = {"pipewire": "pipewire", "pipewire-pulse": "pipewire-pulse", "wireplumber": "wireplumber"}
        programs["dbus"] = "dbus-daemon"
        return " ".join(package for package, program in programs.items() if not shutil.which(program))

    def launch(self) -> None:
        """Start the daemons, for the first time or again after `kill`."""
        bus = f"unix:path={self._folder / 'bus'}"
        (self._folder / "bus").unlink(missing_ok=True)
        self.environment |= {
            "DBUS_SESSION_BUS_ADDRESS": bus,
            "PULSE_SERVER": f"unix:{self._folder / 'native'}",
            **{f"XDG_{kind}_HOME": str(self._folder) for kind in ("CONFIG", "STATE", "CACHE")},
        }
        self._daemons = [self.start("dbus-daemon", "--session", "--nofork", f"--address={bus}")]
        self._daemons.append(self.start("pipewire"))
        self.wait_for("pw-cli", "info", "0")
        # At the devices' rate nothing is resampled: where the server breaks off stays sharp.
        for name, value in {"min-quantum": QUANTUM, "force-rate": self._rate}.items():
            self.wait_for("pw-metadata", "-n", "settings", "0", f"clock.{name}", str(value))
        self._daemons.append(self.start("wireplumber"))
        self._daemons.append(self.start("pipewire-pulse"))
        self.wait_for("pactl", "info")
        form = (f"rate={self._rate}", "channels=2")  # as programs play; to one channel they would be louder
        for name in ("virtmic", "virtspk"):
            self.control("load-module", "module-null-sink", f"sink_name={name}", *form)
        self.wait_for("pactl", "get-source-volume", "virtspk.monitor")

    def add_microphone(self, name: str) -> str:
        """Make a silent microphone; return its module, for ``control("unload-module", ...)``."""
        form = (f"sink_name={name}", "media.class=Audio/Source/Virtual", f"rate={self._rate}", "channels=1")
        return self.control("load-module", "module-null-sink", *form)


def find(part: np.ndarray, whole: np.ndarray) -> int:
    """Return where ``part`` (n,) begins in ``whole`` (m,), by the greatest correlation."""
    size = 1 << (len(part) + len(whole)).bit_length()
    product = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(part, size))
    return int(np.argmax(np.fft.irfft(product, size)[: len(whole)]))
