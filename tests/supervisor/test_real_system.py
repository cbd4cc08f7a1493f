"""The real programs under the supervisor: kill -9 each, stop and start again, and people who talk meanwhile.

How the supervisor treats any program is in `test_system.py`, with fake programs.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import trio

import varde
from tests.supervisor.real_system import TIMEOUT, RealSystem, environ, open_real_system

pytestmark = pytest.mark.xdist_group("real-system")


async def talk(alice: Path, bob: Path, address: varde.ProfileId, text: str) -> None:
    """Alice sends, Bob receives: both sides connect anew."""
    with trio.fail_after(TIMEOUT):
        async with varde.connect(alice, varde.KeyFile(alice / "key")) as client:
            await (await open_patiently(client, address)).send(text)
        async with varde.connect(bob, varde.KeyFile(bob / "key")) as client:
            async for event in client.events():
                if isinstance(event, varde.Message):
                    assert event.text == text
                    return


async def open_patiently(client: varde.Client, address: varde.ProfileId) -> varde.Conversation:
    """Open the conversation, again and again while the servers find back to each other."""
    while True:
        try:
            return await client.open_dm(address)
        except (varde.Unreachable, varde.Busy):
            await trio.sleep(0.1)  # what is waited for is the answer itself


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
def test_no_server_stays_root_or_can_read_the_keys_of_another(real_system: RealSystem) -> None:
    """Started as root, no server stays it. The key files are root's, and no memory is open to one of the same user."""
    keys = real_system.data / "keys"
    assert all(path.stat().st_uid == 0 and not path.stat().st_mode & 0o077 for path in (keys, *keys.iterdir()))
    for name in ("relay", "api", "worker"):
        pid = real_system.ready["pids"][name]
        uids = psutil.Process(pid).uids()
        assert uids.real == uids.effective == uids.saved != 0
        look = subprocess.run(["cat", f"/proc/{pid}/environ"], user=uids.real, check=False, capture_output=True)
        assert b"Permission denied" in look.stderr


def test_whatever_is_killed_comes_back_and_people_talk_on(real_system: RealSystem, tmp_path: Path) -> None:
    """After kill -9 of Postgres, relay, API or worker what was said is still there, and talking goes on."""
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    real_system.sign_up(alice, f"alice@{tmp_path.name}.org")
    address = real_system.sign_up(bob, f"bob@{tmp_path.name}.org").profiles[0].id
    real_system.befriend(alice, bob, address)
    trio.run(talk, alice, bob, address, "before anything died")
    before = real_system.ready["starts"]
    for name in ("relay", "api", "worker", "postgres"):
        os.kill(real_system.ready["pids"][name], signal.SIGKILL)
        real_system.wait_line(f"{name} is back", before[name])  # each start after the first says so
        trio.run(talk, alice, bob, address, f"after the death of {name}")
    after = real_system.ready["starts"]
    assert all(after[name] > before[name] for name in ("relay", "api", "worker", "postgres"))


def test_ctrl_c_waits_for_no_client(tmp_path: Path) -> None:
    """No client holds up the end: nobody is killed, and everybody was told."""
    with open_real_system(tmp_path / "data") as system:
        alice = tmp_path / "alice"
        system.sign_up(alice, "alice@ctrl-c.org")

        async def stay(stopped: threading.Event) -> None:
            async with varde.connect(alice, varde.KeyFile(alice / "key")) as client:
                await client.wait_connected()
                stopped.set()
                await trio.sleep_forever()

        async def stop() -> None:
            connected = threading.Event()
            with trio.fail_after(TIMEOUT):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stay, connected)
                    await trio.to_thread.run_sync(connected.wait)
                    assert await trio.to_thread.run_sync(system.end) == 0
                    nursery.cancel_scope.cancel()

        trio.run(stop)
        assert any("draining 1 connections" in line for line in system.lines)
        assert not any("kill" in line for line in system.lines if "once more kills at once" not in line)


def test_a_second_up_finds_the_data_again(tmp_path: Path) -> None:
    """Accounts, conversations and what waits for a device are there after a stop; while it runs, nobody else may."""
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    with open_real_system(tmp_path / "data") as system:
        system.sign_up(alice, "alice@example.org")
        address = system.sign_up(bob, "bob@example.org").profiles[0].id
        system.befriend(alice, bob, address)
        system.run("send", str(address), "said before the stop", "--home", str(alice))
        second = subprocess.run(
            (sys.executable, "-m", "varde_cli", "up", "--data", str(system.data)),
            capture_output=True,
            text=True,
            env=environ(),
            check=False,
            timeout=TIMEOUT,
        )
        assert second.returncode == 1
        assert f"in use by another `varde up` (process {system.process.pid})" in second.stderr
        binds = urlsplit(system.ready["api"]).netloc, urlsplit(system.ready["relay"]).netloc
    # The devices have kept the addresses.
    with open_real_system(tmp_path / "data", binds) as system:
        events = json.loads(system.run("listen", "--home", str(bob), "--count", "1"))
        assert events["text"] == "said before the stop"


def test_a_killed_supervisor_takes_the_real_programs_along(tmp_path: Path) -> None:
    """Nothing lingers after kill -9 of `varde up`, Postgres included, and the next one starts on the same data."""
    system = RealSystem(tmp_path / "data")
    system.wait_line("Varde is up")
    pids = system.ready["pids"]
    assert system.end(signal.SIGKILL) == -signal.SIGKILL
    with open_real_system(tmp_path / "data") as again:
        for name, pid in pids.items():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            assert again.ready["pids"][name] != pid


def test_a_port_in_use_is_told_with_what_to_do(real_system: RealSystem, tmp_path: Path) -> None:
    """When another program has the port, that and the way out are said before anything starts."""
    taken = real_system.ready["api"].removeprefix("http://")
    words = ("--data", str(tmp_path / "other"), "--api-bind", taken, "--relay-bind", "127.0.0.1:0")
    done = subprocess.run(
        (sys.executable, "-m", "varde_cli", "up", "--quiet", *words),
        capture_output=True,
        text=True,
        env=environ(),
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"varde: address in use: another program listens at {taken}")
    assert "choose another address" in done.stderr
    assert "Traceback" not in done.stderr
