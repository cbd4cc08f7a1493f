"""A server that lies in every way it can: what honest clients say of it, and that nothing comes of it."""

import re
from collections import Counter
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone, carol_phone, mallory_phone
from tests.doubles.dishonest_server import DishonestServer
from tests.doubles.lies import LIES
from tests.varde.endpoints import Endpoint, endpoint
from tests.varde.memory_relay import open_clients
from varde.events import Message
from varde_contract import frames as f
from varde_contract.talk import ConversationKind

THREAT_MODEL = Path(__file__).parents[2] / "docs" / "threat-model.md"


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_told_and_comes_to_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each row: exactly what stands there is told, the ghost gets nothing, and nothing is shown that nobody wrote."""
    row = LIES[name]
    honest = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    ghost = endpoint(mallory_phone)
    there = honest if row.kind is ConversationKind.GROUP else honest[:2]
    async with open_clients(row.kind, *there) as room, trio.open_nursery() as nursery:
        room.relay.strangers = [ghost]
        server = DishonestServer(room, *honest, ghost)
        for module in ("varde.conversation", "varde.conversation_sender"):
            monkeypatch.setattr(f"{module}.now_ms", lambda: server.clock_ms)
        for client in room.clients.values():
            nursery.start_soon(server.listen, client.events())
        await wait_all_tasks_blocked()
        await row.tell(server)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert server.noticed == row.noticed
    for send in (*room.relay.frames_of(f.Send), *room.relay.by_rest):
        assert isinstance(send, f.Send)
        assert ghost.id not in (send.devices or ())
    assert not any(ghost.id in claim.devices for claim in room.relay.claims)
    written = Counter((device, text) for device, texts in server.written.items() for text in texts)
    for reader in there:
        assert shown(reader) <= written


def shown(reader: Endpoint) -> Counter[tuple[object, str]]:
    """The messages that a reader has, with the device that each is shown to be from."""
    log = reader.store.log
    events = (log.entry(position) for position in range(1, log.last_position() + 1))
    messages = (entry.event for entry in events if entry is not None)
    return Counter((each.device, each.text) for each in messages if isinstance(each, Message))


def test_the_threat_model_has_a_line_for_each_lie() -> None:
    """By the name of its row, in the order of the table."""
    _, section = THREAT_MODEL.read_text("utf-8").split("### What a dishonest server tries\n")
    assert re.findall(r"^\| ([a-z][^|]*) \|", section.split("\n## ")[0], re.MULTILINE)[1:] == list(LIES)
