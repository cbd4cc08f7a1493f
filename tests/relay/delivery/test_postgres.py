"""A fleet over a real PostgreSQL, and the program itself."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import trio

from domain.people import model as people
from domain.talk.events import MembershipChanged
from storage.island import open_island
from tests.cast import (
    alice,
    alice_laptop,
    bob,
    bob_laptop,
    bob_phone,
    remove_member,
)
from tests.relay.client import RelayClient
from tests.relay.library_clients import open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.program import PATIENCE_SECONDS, ROOT, Program, open_roster, open_stores
from tests.relay.tcp_node import open_tcp_node
from varde_contract import frames as f
from varde_contract.session import Pattern


async def test_a_fleet_over_postgres(database_url: str, sends: Sends) -> None:
    """Messages, backlog, receipts and a removal cross two nodes that share nothing but the database."""
    async with (
        open_stores(database_url) as here,
        open_stores(database_url) as there,
        open_tcp_node(here) as one,
        open_tcp_node(there) as other,
    ):
        roster = await open_roster(here)
        async with (
            open_with_websockets(one.url, one.credentials(alice_laptop)) as laptop,
            open_with_websockets(other.url, other.credentials(bob_phone)) as phone,
        ):
            for client in (laptop, phone):
                await client.connect()
                await client.send(f.Join())
                await client.wait_for(f.Joined)
            await laptop.send(*(sends.each(roster, alice, alice_laptop) for _ in range(50)))
            heard = [await phone.wait_for(f.New) for _ in range(50)]
            assert [new.seq for new in heard] == list(range(1, 51))
            assert {new.ciphertext for new in heard} == {b"sealed for " + bob_phone.id.bytes}
            await phone.send(f.Delivered(roster.conversation, 50), f.Read(roster.conversation, bob.profile, 50))
            assert (await laptop.wait_for(f.DeliveredBy)).upto == 50
            assert (await laptop.wait_for(f.ReadBy)).upto == 50
            async with open_with_websockets(one.url, one.credentials(bob_laptop)) as late:
                await late.connect()
                await late.send(f.Join())
                assert [(await late.wait_for(f.New)).seq for _ in range(50)] == list(range(1, 51))
            move = await remove_member(here, roster.conversation, bob)
            assert isinstance(move, people.RosterChange)
            await here.bus.publish([MembershipChanged(move.conversation, move.version)])
            assert (await phone.wait_for(f.Changed)).value == move.version
            await phone.send(sends.group(roster, bob))
            assert (await phone.wait_for(f.RefusedFrame)).code == "not-found"


async def test_the_same_client_id_over_two_nodes_is_one_message(database_url: str, sends: Sends) -> None:
    """A device that was acked by a node that died asks another one, and gets the same ack."""
    async with open_stores(database_url) as stores, open_tcp_node(stores) as one, open_tcp_node(stores) as other:
        roster = await open_roster(stores)
        frame = sends.group(roster, alice)
        acks = []
        for node in (one, other):
            async with open_with_websockets(node.url, node.credentials(alice_laptop, Pattern.XX)) as laptop:
                await laptop.connect()
                await laptop.send(frame)
                acks.append(await laptop.wait_for(f.Ack))
        assert acks[0] == acks[1]


@pytest.fixture
def program(tmp_path: Path, database_url: str) -> Iterator[Program]:
    """The program over a database of its own, not started yet."""
    program = Program(tmp_path, database_url)
    yield program
    if program.process is not None:
        program.end(signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_drains_when_it_is_told_to(program: Program, how: signal.Signals) -> None:
    """A polite signal is a goaway to everybody, the documented close code, and a clean exit."""
    program.start()
    async with open_stores(program.environ["VARDE_DATABASE_URL"]) as stores:
        await open_roster(stores)
        async with open_with_websockets(program.url, program.credentials(alice_laptop)) as laptop:
            await laptop.connect()
            await laptop.send(f.Join())
            await laptop.wait_for(f.Joined)
            program.tell(how)
            assert (await laptop.wait_closed()).code == 4000
            assert laptop.drained
    assert program.wait() == 0


async def test_what_was_acked_survives_the_death_of_the_program(program: Program, sends: Sends) -> None:
    """Killed in the middle of a flood, the program comes back and has every message that it acked."""
    program.start()
    async with open_stores(program.environ["VARDE_DATABASE_URL"]) as stores:
        roster = await open_roster(stores)
        acked: dict[f.Seq, object] = {}
        async with open_with_websockets(program.url, program.credentials(alice_laptop)) as laptop:
            await laptop.connect()
            await laptop.send(*(sends.group(roster, alice) for _ in range(200)))
            while len(acked) < 20:
                ack = await laptop.wait_for(f.Ack)
                acked[ack.seq] = ack.message
            program.end(signal.SIGKILL)
        program.start()
        async with open_with_websockets(program.url, program.credentials(bob_phone)) as phone:
            await phone.connect()
            await phone.send(f.Join())
            head = (await phone.wait_for(f.Joined)).head
            told = {new.seq: new.message for new in [await phone.wait_for(f.New) for _ in range(head)]}
        assert acked.items() <= told.items()


FAILING = """
    CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$;
    CREATE OR REPLACE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION fail()
"""
CODES = {"disk full": "53100", "I/O": "58030", "corrupt": "XX000", "deadlock": "40P01", "constraint": "23514"}


@asynccontextmanager
async def open_executor(url: str) -> AsyncIterator[Callable[[str], Awaitable[object]]]:
    """Yield what executes a statement on a connection of the test's own."""
    async with open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        try:
            yield lambda statement: island.run(connection.execute, statement)
        finally:
            await island.run(connection.close)


async def send_until_acked(client: RelayClient, frame: f.Send) -> None:
    """Send the same again for as long as it is refused, after the pause that was asked for."""
    while True:
        await client.send(frame)
        answers = await client.receive_many(1)
        if isinstance(answers[0], f.Ack):
            return
        assert isinstance(answers[0], f.RefusedFrame)
        assert answers[0].retry_after_ms is not None
        await trio.sleep(answers[0].retry_after_ms / 1_000)  # as the relay asked


@pytest.mark.timeout(60)
async def test_the_program_outlives_whatever_the_database_refuses(program: Program, sends: Sends) -> None:
    """Commits and receipts that fail over there are refused or tried again, and succeed once the database lets them."""
    program.start()
    url = program.environ["VARDE_DATABASE_URL"]
    async with open_stores(url) as stores, open_executor(url) as execute:
        roster = await open_roster(stores)
        async with (
            open_with_websockets(program.url, program.credentials(alice_laptop)) as laptop,
            open_with_websockets(program.url, program.credentials(bob_phone)) as phone,
        ):
            await laptop.connect()
            await phone.connect()
            for code in CODES.values():
                frame = sends.group(roster, alice)
                await execute(FAILING.format(code=code, table="message"))
                await laptop.send(frame)
                assert (await laptop.wait_for(f.RefusedFrame)).code == "unavailable"
                await execute("DROP TRIGGER fail ON message")
                await send_until_acked(laptop, frame)
            for client in (laptop, phone):
                await client.send(f.Join())
                await client.wait_for(f.Joined)
            await execute(FAILING.format(code=CODES["constraint"], table="delivery"))
            await phone.send(f.Delivered(roster.conversation, len(CODES)))
            await trio.sleep(0.5)  # nothing says when a receipt has failed
            await execute("DROP TRIGGER fail ON delivery")
            assert (await laptop.wait_for(f.DeliveredBy)).upto == len(CODES)
    assert program.end(signal.SIGTERM) == 0


WRONG: list[tuple[dict[str, str], str]] = [
    ({"VARDE_RELAY_BIND": "nowhere"}, "VARDE_RELAY_BIND"),
    ({"VARDE_RELAY_BIND": "127.0.0.1:99999"}, "VARDE_RELAY_BIND"),
    ({"VARDE_RELAY_CONNECTIONS": "0"}, "VARDE_RELAY_CONNECTIONS"),
    ({"VARDE_RELAY_DRAIN_SECONDS": "soon"}, "VARDE_RELAY_DRAIN_SECONDS"),
    ({"VARDE_DATABASE_URL": "mysql://localhost"}, "VARDE_DATABASE_URL"),
    ({"VARDE_DATABASE_URL": "postgresql://127.0.0.1:1/none"}, "relay: "),
]


@pytest.mark.parametrize(("environ", "expected"), WRONG)
def test_what_a_person_can_mend_is_one_line(program: Program, environ: dict[str, str], expected: str) -> None:
    """A wrong setting or an absent database ends the program with a word about it and no traceback."""
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    ended = run(
        (sys.executable, "-m", "relay"),
        env=program.environ | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


async def test_the_log_names_nobody(program: Program, sends: Sends) -> None:
    """After a connection, a message and a surprise-free end, no id and no address is in the program's log."""
    program.start()
    async with open_stores(program.environ["VARDE_DATABASE_URL"]) as stores:
        roster = await open_roster(stores)
        async with open_with_websockets(program.url, program.credentials(alice_laptop)) as laptop:
            await laptop.connect()
            await laptop.send(sends.group(roster, alice))
            await laptop.wait_for(f.Ack)
    assert program.end(signal.SIGTERM) == 0
    log = program.log.read_text()
    assert "draining" in log
    for secret in (
        str(alice_laptop.id),
        str(roster.conversation),
        str(alice.account),
        alice_laptop.id.hex,
        "Traceback",
    ):
        assert secret not in log
