"""A forked child exits though its parent has a Separator, and can open one of its own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
import numpy as np
from tisdiss_rt import Separator, TisdissError

bundle, provider, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
mix = np.ones(5000, np.float32)
separator = Separator(bundle, provider, threads, "fp32")
stream = separator.stream(16000)
expected = separator.separate(mix, 16000).sources
child = os.fork()
if child == 0:
    if len(sys.argv) > 4:
        for use in (lambda: separator.separate(mix, 16000), lambda: stream.process(mix)):
            try:
                use()
            except TisdissError as error:
                assert "forked after the Separator was opened" in str(error), error
            else:
                raise AssertionError("no error")
        separator = Separator(bundle, "cpu", threads, "fp32")
    np.testing.assert_allclose(separator.separate(mix, 16000).sources, expected, atol=1e-5)
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
np.testing.assert_allclose(separator.separate(mix, 16000).sources, expected, atol=1e-5)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(*arguments):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr


def test_one_thread_goes_on_in_the_child(gain_toy):
    run(gain_toy, "cpu", 1)


@pytest.mark.parametrize("toy", ["gain_toy", "stream_toy"])
def test_several_threads_stay_in_the_parent(toy, request):
    run(request.getfixturevalue(toy), "cpu", 2, "refused")


def test_openvino_stays_in_the_parent(gain_toy):
    pytest.importorskip("openvino")
    run(gain_toy, "openvino", 1, "refused")
