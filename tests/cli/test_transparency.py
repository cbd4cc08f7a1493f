"""`varde log`, `varde audit` and `varde witness` against the real system: an owner, an auditor, a witness."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from settings.storage import EmbeddedDatabase, StorageSettings
from storage.stores import open_storage
from tests.contract.transparency.logs import KEYS, WITNESS
from tests.supervisor.real_system import TIMEOUT, RealSystem, environ
from varde_contract.ids import AccountId
from varde_contract.transparency.checkpoint import signed_time
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.note import VerifierKey, parse_note, parse_signatures
from varde_contract.transparency.proof import AddCheckpoint, InclusionProof

pytestmark = pytest.mark.xdist_group("real-system")


@pytest.fixture
def system(real_system: RealSystem) -> RealSystem:
    """The shared system."""
    return real_system


def add_lists(system: RealSystem, account: AccountId, *numbers: int) -> None:
    """Let lists wait for the log, as the API does when a device list changes."""
    entries = [Entry(account, number, number.to_bytes(32)) for number in numbers]

    async def run() -> None:
        config = StorageSettings(database=EmbeddedDatabase(system.data / "postgres"), pool_min=1, pool_max=1)
        async with open_storage(config) as stores:
            await stores.transparency.enqueue(entries)

    trio.run(run)


def watch(system: RealSystem, home: Path) -> list[dict[str, Any]]:
    """What the owner is told."""
    shown = system.run("log", "watch", "--once", "--json", "--home", str(home))
    return [json.loads(line) for line in shown.splitlines()]


def wait_logged(system: RealSystem, home: Path, count: int) -> list[dict[str, Any]]:
    """Ask until so many lists are in the log; each command takes a second."""
    for _ in range(20):
        found = watch(system, home)
        if len(found) >= count:
            return found
    raise AssertionError(found)


def test_an_owner_is_told_of_every_list(system: RealSystem, tmp_path: Path) -> None:
    """Also of one that this device was never shown; each can be proven to others with a file that stands alone."""
    home = tmp_path / "home"
    account = system.sign_up(home, "watch@example.org").account
    own = wait_logged(system, home, 1)  # sign-up has made the first
    assert all(each["known"] for each in own)
    before = len(own)
    add_lists(system, account, before + 1, before + 2)
    found = wait_logged(system, home, before + 2)
    assert [each["number"] for each in found] == list(range(1, before + 3))
    assert not any(each["known"] for each in found[before:])
    assert "THIS DEVICE HAS NOT SEEN IT" in system.run("log", "watch", "--once", "--home", str(home))
    proof = InclusionProof.parse(system.run("log", "prove", str(before + 1), "--home", str(home)).encode())
    assert proof.index == found[before]["index"]
    assert "no such device list" in system.run("log", "prove", str(before + 9), "--home", str(home), code=1)
    assert "Forgotten" in system.run("log", "forget", "--yes", "--home", str(home))
    assert len(watch(system, home)) == before + 2


def test_a_person_demands_keys_and_witnesses(system: RealSystem, tmp_path: Path) -> None:
    """What a policy demands and the log does not have stops sending; another log's policy is refused."""
    home, policy = ("--home", str(tmp_path / "home")), tmp_path / "policy"
    system.sign_up(tmp_path / "home", "demand@example.org")
    assert "No policy" in system.run("log", "policy", *home)
    keys = "".join(f"log {vkey}\n" for vkey in httpx.get(f"{system.ready['api']}/v1/log/key").text.split())
    policy.write_text(f"{keys}quorum none\n")
    assert system.run("log", "policy", str(policy), *home) == policy.read_text()
    system.run("send", "self", "hei", *home)
    policy.write_text(f"{keys}witness one {WITNESS.key}\nquorum one\n")
    system.run("log", "policy", str(policy), *home)
    assert "too few witnesses" in system.run("send", "self", "hei", *home, code=1)
    policy.write_text("".join(f"log {key}\n" for key in KEYS) + "quorum none\n")
    assert "other keys" in system.run("log", "policy", str(policy), *home, code=1)
    assert "No policy" in system.run("log", "policy", "--none", *home)
    system.run("send", "self", "hei", *home)


def test_anybody_can_audit(system: RealSystem, tmp_path: Path) -> None:
    """Without an account; the next audit demands that the log continues, with the same keys."""
    state, url = tmp_path / "audit.json", system.ready["api"]
    shown = system.run("audit", "--api", url, "--state", str(state))
    assert "are whole" in shown
    assert "were believed" in shown
    assert "were believed" not in system.run("audit", "--api", url, "--state", str(state))
    vkeys = json.loads(state.read_text())["vkeys"]
    policy = tmp_path / "policy"
    policy.write_text("".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n")
    found = json.loads(system.run("audit", "--api", url, "--policy", str(policy), "--json"))
    assert found["vkeys"] == vkeys
    damaged = json.loads(state.read_text()) | {"size": 10**6}
    state.write_text(json.dumps(damaged))
    assert "had 1000000 before" in system.run("audit", "--api", url, "--state", str(state), code=1)
    state.write_text("{}")
    assert "not what an audit has written" in system.run("audit", "--api", url, "--state", str(state), code=1)
    policy.write_text("trust nobody\n")
    assert "line 1 of the policy" in system.run("audit", "--api", url, "--policy", str(policy), code=1)


@contextmanager
def running_witness(home: Path, policy: Path, *more: str) -> Iterator[tuple[str, list[VerifierKey]]]:
    """A witness as a process: its URL and its keys."""
    words = ("witness", "--home", str(home), "--policy", str(policy), "--bind", "127.0.0.1:0", *more)
    command = (sys.executable, "-u", "-m", "varde_cli", *words)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ()) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            keys = [VerifierKey.parse(line.split()[2]) for line in lines[:2]]
            yield lines[2].split()[-1], keys
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT) == 130
        finally:
            process.kill()


def test_a_witness_cosigns_over_http(system: RealSystem, tmp_path: Path) -> None:
    """What it prints fits a policy file; it remembers over a restart; what is no request is refused."""
    url = system.ready["api"]
    note = parse_note(httpx.get(f"{url}/v1/log/checkpoint").content)
    policy = tmp_path / "policy"
    policy.write_text(
        "".join(f"log {vkey}\n" for vkey in httpx.get(f"{url}/v1/log/key").text.split()) + "quorum none\n"
    )
    body = AddCheckpoint(0, (), note).encode()
    with running_witness(tmp_path / "w", policy, "--name", "witness.example/w") as (at, keys):
        answer = httpx.post(f"{at}/add-checkpoint", content=body)
        assert answer.status_code == 200
        cosigned = note.signed(parse_signatures(answer.text))
        assert None not in [signed_time(cosigned, key) for key in keys]
        for path, content, status in (("/other", body, 404), ("/add-checkpoint", b"x" * 80_000, 413)):
            assert httpx.post(f"{at}{path}", content=content).status_code == status
        assert httpx.post(f"{at}/add-checkpoint", content=iter([body])).status_code == 411
        assert httpx.get(f"{at}/add-checkpoint").status_code == 404
    with running_witness(tmp_path / "w", policy) as (at, again):
        assert again == keys
        assert httpx.post(f"{at}/add-checkpoint", content=body).status_code in {200, 409}
    assert "needs a name" in system.run("witness", "--home", str(tmp_path / "n"), "--policy", str(policy), code=1)
    words = ("witness", "--home", str(tmp_path / "n"), "--policy", str(policy), "--bind", "nowhere")
    assert "host:port" in system.run(*words, code=2)
