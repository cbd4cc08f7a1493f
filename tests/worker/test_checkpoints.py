"""The job that signs the log: every second when something waits, each minute when nothing does, never two histories."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import trio
from trio.testing import MockClock

from domain.ports import Stores
from domain.transparency.model import SignedHead
from domain.transparency.sequencing import Signed
from settings.worker import WorkerSettings
from simulation.stores import open_memory_stores
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from storage.keys import KeyFileError
from storage.log_key import KEY, LAST, LogKey
from tests.contract.transparency.logs import PQ_WITNESS, WITNESS
from tests.doubles.witness import WitnessDouble
from varde_contract.ids import AccountId
from varde_contract.transparency.checkpoint import open_checkpoint, signed_time
from varde_contract.transparency.entry import Entry
from varde_contract.transparency.note import VerifierKey, parse_note
from varde_contract.transparency.policy import Policy, parse_policy
from worker.checkpoints import FAULT_PAUSE, Checkpoints
from worker.witnesses import Witnesses

SETTINGS = WorkerSettings()
ACCOUNT = AccountId(UUID(int=7))


def clock() -> int:
    """Trio's, as milliseconds."""
    return round(trio.current_time() * 1_000)


def entry(number: int) -> Entry:
    """A list of somebody."""
    return Entry(ACCOUNT, number, number.to_bytes(32))


class Job:
    """The job over memory stores."""

    def __init__(self, folder: Path, policy: Policy | None = None) -> None:
        self.memory, self.interference = Memory(), Interference()
        self.stores: Stores = open_memory_stores(memory=self.memory, interference=self.interference)
        self.log = self.stores.transparency
        self.key = LogKey(folder / "log", "log.example")
        self.run = lambda: Checkpoints(self.key, policy).run(SETTINGS, self.stores, clock)

    @property
    def head(self) -> SignedHead:
        """The newest checkpoint."""
        return self.memory.transparency.heads[False]


async def test_what_waits_is_in_the_log_within_a_second(tmp_path: Path, autojump_clock: MockClock) -> None:
    """However little; and a log in which nothing happens is signed at least each minute."""
    job = Job(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run)
        await trio.sleep(0.1)  # of the mocked clock
        times = [open_checkpoint(job.head.note, [each.key for each in job.key.signers]).time]
        for number in range(1, 4):
            await job.log.enqueue([entry(number)])
            await trio.sleep(SETTINGS.checkpoint_pause)  # of the mocked clock
            assert job.head.size == number
        for _ in range(10):
            await trio.sleep(60)  # of the mocked clock
            times.append(open_checkpoint(job.head.note, [each.key for each in job.key.signers]).time)
            assert clock() / 1_000 - times[-1] < 60
        assert job.key.last() == Signed(job.head.size, job.head.root)
        nursery.cancel_scope.cancel()


async def test_an_outage_only_delays(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What waited is signed when the store is back."""
    job = Job(tmp_path)
    await job.log.enqueue([entry(1)])
    async with trio.open_nursery() as nursery:
        with job.interference.outage():
            nursery.start_soon(job.run)
            await trio.sleep(30)  # of the mocked clock
        await trio.sleep(2)  # of the mocked clock
        assert job.head.size == 1
        nursery.cancel_scope.cancel()


async def test_a_database_from_a_backup_is_not_signed(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients have seen more than it knows: to go on would show them two histories. The log of the worker says so."""
    job = Job(tmp_path)
    job.key.remember(Signed(5, bytes(32)))
    await job.log.enqueue([entry(1)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run)
        await trio.sleep(2.5 * FAULT_PAUSE)  # of the mocked clock
        nursery.cancel_scope.cancel()
    assert await job.log.head() is None
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert (
        said
        == ["the transparency log is not signed: the log in the database ends at 0, and 5 entries were signed before"]
        * 3
    )


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """The same log is found again; its name is the one given first, or one made of its key."""
    first = [each.key for each in LogKey(tmp_path / "log", "log.example").signers]
    assert [each.key for each in LogKey(tmp_path / "log", "another.example").signers] == first
    assert {key.name for key in first} == {"log.example"}
    unnamed = LogKey(tmp_path / "other").signers[0].key
    assert unnamed.name.startswith("log.varde.invalid/")
    assert unnamed.public != first[0].public
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "log", tmp_path / "log" / KEY))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (KEY, ""),
        (KEY, "log.example\nAAAA\nAAAA"),
        (KEY, "log example\n" + "A" * 43 + "=\n" + "A" * 43 + "="),
        (KEY, "log\n!\n!"),
        (LAST, "5 00\n"),
        (LAST, "x" * 86),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, name: str, text: str) -> None:
    """By its name; nothing is made anew."""
    LogKey(tmp_path / "log").remember(Signed(1, bytes(32)))
    (tmp_path / "log" / name).write_text(text)
    with pytest.raises(KeyFileError, match=name):
        LogKey(tmp_path / "log")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As an error that a person can mend."""
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match="cannot be made"):
        LogKey(tmp_path / "file" / "log")


def policy_of(*witnesses: tuple[VerifierKey, str]) -> Policy:
    """All of these must cosign."""
    lines = [f"witness w{number} {key} {url}" for number, (key, url) in enumerate(witnesses)]
    names = " ".join(f"w{number}" for number in range(len(witnesses)))
    return parse_policy("\n".join([*lines, f"group all all {names}", "quorum all"]))


BOTH = policy_of((WITNESS.key, "https://one.example/w/"), (PQ_WITNESS.key, "https://two.example"))


async def test_witnesses_cosign(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Each is given the proof from what it saw last, which it is asked for after a restart."""
    doubles = {"one.example": WitnessDouble(WITNESS), "two.example": WitnessDouble(PQ_WITNESS)}
    job = Job(tmp_path, BOTH)
    transport = httpx.MockTransport(lambda request: doubles[request.url.host].answer(request))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Checkpoints(job.key, None).run, SETTINGS, job.stores, clock)
        for run in range(2):
            async with Witnesses(BOTH, job.log, transport) as witnesses:
                for number in range(2):
                    await job.log.enqueue([entry(10 * run + number), entry(10 * run + number + 5)])
                    await trio.sleep(2)  # of the mocked clock
                    assert await witnesses.ask_all()
                    cosigned = await job.log.head(cosigned=True)
                    assert cosigned is not None
                    assert cosigned.size == job.head.size
                    note = parse_note(cosigned.note)
                    keys = [*(each.key for each in job.key.signers), WITNESS.key, PQ_WITNESS.key]
                    assert None not in [signed_time(note, key) for key in keys]
        nursery.cancel_scope.cancel()
    assert [double.conflicts for double in doubles.values()] == [1, 1]
    assert doubles["one.example"].paths == {"/w/add-checkpoint"}


@pytest.mark.parametrize("fault", ["down", "refuses", "lies", "stranger", "babbles", "floods", "ahead", "slow"])
async def test_a_witness_that_does_not_cosign_is_missed(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """Then nothing new is kept as cosigned, and the worker goes on signing."""
    double = WitnessDouble(WITNESS, fault)
    job = Job(tmp_path)
    transport = httpx.MockTransport(double.answer_later)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Checkpoints(job.key, None).run, SETTINGS, job.stores, clock)
        async with Witnesses(policy_of((WITNESS.key, "https://one.example")), job.log, transport) as witnesses:
            await job.log.enqueue([entry(1)])
            await trio.sleep(2)  # of the mocked clock
            assert not await witnesses.ask_all()
        nursery.cancel_scope.cancel()
    assert await job.log.head(cosigned=True) is None
    assert fault == "stranger" or "witness.example/one" in caplog.text


async def test_the_job_asks_its_witnesses(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute; a failing store or witness ends nothing."""
    policy = policy_of((WITNESS.key, "http://127.0.0.1:1"))
    job = Job(tmp_path, policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run)
        await trio.sleep(2.5 * SETTINGS.witness_pause)  # of the mocked clock
        assert job.head.size == 0
        with job.interference.outage():
            await trio.sleep(SETTINGS.witness_pause)  # of the mocked clock
        nursery.cancel_scope.cancel()
    assert caplog.messages.count("too few witnesses have cosigned the transparency log") == 3


@pytest.mark.parametrize("text", [None, "trust nobody\n", "\xff"])
def test_a_policy_that_cannot_be_read_is_told(tmp_path: Path, text: str | None) -> None:
    """By its variable, before the worker begins."""
    path = tmp_path / "policy"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    environ = os.environ | {"VARDE_DATA": str(tmp_path / "data"), "VARDE_LOG_POLICY": str(path)}
    command = (sys.executable, "-m", "worker")
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("worker: VARDE_LOG_POLICY: ")
