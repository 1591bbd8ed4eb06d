"""Runs commands in this process; standard output and error are apart in every version of click."""

import signal
from inspect import signature
from typing import Any

from click.testing import CliRunner, Result

from tisdiss_rt.cli.main import cli

HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none


def heed_signals() -> None:
    """For ``preexec_fn``: what jobs in the background and with nohup ignore ends the program."""
    for number in (signal.SIGINT, HANGUP):
        signal.signal(number, signal.SIG_DFL)


def invoke(*arguments: Any) -> Result:
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}  # before 8.2
    return CliRunner(**apart).invoke(cli, [str(word) for word in arguments])
