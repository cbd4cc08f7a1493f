"""Two relay nodes as processes, over a real Postgres and a real Valkey that is killed in the middle of a chat."""

import signal
from pathlib import Path

import pytest
import trio

from tests.cast import alice, alice_laptop, bob_phone
from tests.relay.client import ConnectionClosed
from tests.relay.library_clients import open_with_websockets
from tests.relay.memory_node import Sends
from tests.relay.program import Program, open_roster, open_stores
from tests.valkey import open_valkey
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode

PATIENCE = 60
"""Seconds for the whole chat."""
EACH = 20
"""Messages while the bus is there, while it is gone, and while it is there again."""


async def test_a_chat_outlives_its_bus(tmp_path: Path, database_url: str, sends: Sends) -> None:
    """Everything is delivered once and in order while Valkey is killed and started again; nobody is disconnected.

    Then the phone connects to the other node, which replaces its older connection.
    """
    one, other = Program(tmp_path, database_url), Program(tmp_path, database_url)
    heard: list[int] = []
    acked: list[int] = []
    try:
        with trio.fail_after(PATIENCE), open_valkey() as server:
            for program in one, other:
                program.start(VARDE_BUS_URL=f"redis://127.0.0.1:{server.port}")
            async with (
                open_stores(database_url) as stores,
                open_with_websockets(one.url, one.credentials(alice_laptop)) as laptop,
                open_with_websockets(other.url, other.credentials(bob_phone)) as phone,
            ):
                roster = await open_roster(stores)
                await laptop.connect()
                await phone.connect()
                await phone.send(f.Join())
                await phone.wait_for(f.Joined)

                async def listen() -> None:
                    while len(heard) < 3 * EACH:
                        heard.append((await phone.wait_for(f.New)).seq)

                async def talk() -> None:
                    for _ in range(EACH):
                        await laptop.send(sends.group(roster, alice))
                        acked.append((await laptop.wait_for(f.Ack)).seq)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(listen)
                    await talk()
                    channel = f"varde:{roster.conversation.hex}"
                    assert server.ask("PUBSUB", "CHANNELS", channel) == [channel]  # of the one node with a listener
                    server.kill()
                    await talk()
                    await trio.to_thread.run_sync(server.start)
                    await talk()
                assert heard == acked == list(range(1, 3 * EACH + 1))

                async with open_with_websockets(one.url, one.credentials(bob_phone)) as newer:
                    await newer.connect()
                    await newer.send(f.Join())
                    await newer.wait_for(f.Joined)
                    with pytest.raises(ConnectionClosed) as closed:
                        await phone.wait_for(f.New)  # and no message was repeated before
                    assert closed.value.code == CloseCode.REPLACED
    finally:
        for program in one, other:
            if program.process is not None:
                program.end(signal.SIGKILL)
