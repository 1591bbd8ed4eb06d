"""Runs commands in this process; standard output and error are apart in every version of click."""

from inspect import signature
from typing import Any

from click.testing import CliRunner, Result

from tisdiss_rt.cli.main import cli


def invoke(*arguments: Any) -> Result:
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}  # before 8.2
    return CliRunner(**apart).invoke(cli, [str(word) for word in arguments])
