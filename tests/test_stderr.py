"""What is noise is held back, whatever else is said comes through."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from signlib.project import ROOT
from signlib.stderr import without_noise

NOISE = re.compile(rb"^[IW]\d{4} ")


def test_what_python_writes_is_passed_on_too(capfd):
    with without_noise(NOISE):
        print("a message of Python", file=sys.stderr)
    assert capfd.readouterr().err == "a message of Python\n"


def test_an_error_comes_through_with_its_messages_and_stderr_is_back(capfd):
    with pytest.raises(ImportError, match="broken"), without_noise(NOISE):
        os.write(2, b"I0000 noise\nE0000 broken\n")
        raise ImportError("broken")
    os.write(2, b"after\n")
    assert capfd.readouterr().err.encode() == b"E0000 broken\nafter\n"


def test_no_file_stays_open():
    opened = pathlib.Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("no /proc on this system")
    before = len(list(opened.iterdir()))
    for _ in range(5):
        with without_noise(NOISE):
            pass
    assert len(list(opened.iterdir())) == before


def test_a_closed_stderr_is_no_error():
    code = "import re; from signlib.stderr import without_noise\nwith without_noise(re.compile(b'x')): print('done')"
    done = subprocess.run(f'"{sys.executable}" -c "{code}" 2>&-', shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "done\n" and done.returncode == 0
