"""How every server program ends."""

import subprocess
import sys
from typing import Final

PROGRAM: Final = """
import os
from settings.environment import ConfigError
from storage.program import run_program

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        os.write(1, b"visited")

def prepare():
    raise ConfigError("not today")

kept = Cycle()
run_program("relay", prepare)
"""


def test_the_end_visits_no_object() -> None:
    """What a program holds when it ends is left to the kernel: with many connections Python needs a second for it."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", "relay: not today\n")
