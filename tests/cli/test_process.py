"""What a command makes of its process before it does anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_THREADS_OF_NUMPY = "import os, numpy; print(len(os.listdir('/proc/self/task')))"
_AFTER_A_COMMAND = f"""
from dicomfs.cli import main
main(["inspect", "."], standalone_mode=False)
{_THREADS_OF_NUMPY}
"""


def _threads(program: str, directory: Path, **variables: str) -> int:
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


def test_numpy_starts_no_threads(tmp_path: Path) -> None:
    if _threads(_THREADS_OF_NUMPY, tmp_path) == 1:
        pytest.skip("this numpy starts no threads by itself on this machine")
    assert _threads(_AFTER_A_COMMAND, tmp_path) == 1


def test_numpy_starts_the_threads_that_the_user_asks_for(tmp_path: Path) -> None:
    asked = {"OPENBLAS_NUM_THREADS": "2"}
    if _threads(_THREADS_OF_NUMPY, tmp_path, **asked) == 1:
        pytest.skip("this numpy cannot start threads on this machine")
    assert _threads(_AFTER_A_COMMAND, tmp_path, **asked) == 2
