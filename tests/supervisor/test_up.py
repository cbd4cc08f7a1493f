"""`varde up` as a process of its own: signals, exit codes, what it prints, the file for scripts.

No server runs here: its programs are fake programs.
"""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.supervisor.fake_system import FakeControl, open_fake_up


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything_in_order(number: signal.Signals, control: FakeControl) -> None:
    """Ctrl-C, a service manager and a closed terminal all end it cleanly, with exit code 0."""
    async with open_fake_up(control.data) as up:
        up.process.send_signal(number)
        assert await up.process.wait() == 0
    assert control.history()[-3:] == ["SIGTERM api", "SIGTERM relay", "SIGINT postgres"]
    assert up.lines[-1] == "varde    │ everything has stopped; the data stays in its folder"


async def test_a_second_signal_kills(control: FakeControl) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    control.set_behaviour("relay", "stubborn")
    async with open_fake_up(control.data) as up:
        up.process.send_signal(signal.SIGINT)
        await control.wait_history("SIGTERM relay")
        up.process.send_signal(signal.SIGINT)
        assert await up.process.wait() == 0
    assert any(line.endswith("was killed") and "relay" in line for line in up.lines)


async def test_the_ready_file_names_addresses_and_processes(control: FakeControl) -> None:
    """Scripts and tests read from one JSON file where everything is."""
    async with open_fake_up(control.data) as up:
        ready = json.loads(up.ready_file.read_text())
        assert ready["pids"]["varde"] == up.process.pid
        assert set(ready["pids"]) == {"varde", "postgres", "relay", "api", "worker"}
        assert ready["api"].startswith("http://127.0.0.1:")
        assert ready["relay"].startswith("ws://127.0.0.1:")
        assert Path(ready["data"]) == control.data
        for pid in ready["pids"].values():
            os.kill(pid, 0)


async def test_a_crash_is_told_in_one_clear_line(control: FakeControl) -> None:
    """Who watches the terminal reads what died, how, and when it is started again."""
    async with open_fake_up(control.data) as up:
        pid = json.loads(up.ready_file.read_text())["pids"]["relay"]
        os.kill(pid, signal.SIGKILL)
        await control.wait_history("start relay", 2)
        up.process.send_signal(signal.SIGTERM)
        await up.process.wait()
    (line,) = (line for line in up.lines if "SIGKILL" in line)
    assert line.startswith(f"varde    │ relay (process {pid}) was killed by SIGKILL; starting it again in 0.")
