"""The heartbeat of many: pings are spread, nobody is left out, and only the silent are cut."""

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import pytest
import trio

from domain.people.tickets import LIFETIME, Ticket
from relay.connection.outbox import Outbox
from relay.connection.peer import Peer
from relay.delivery.mailbox import Mailbox
from relay.heartbeat import PINGS, SILENCES, SLICE
from tests.cast import alice
from tests.ids import id_of
from tests.relay.memory_node import MemoryNode
from varde_contract.close_codes import CloseCode
from varde_contract.ids import DeviceId

MANY: Final = 4 * SLICE
HEARTBEAT: Final = 25.0


class FakeConnection:
    """Records when it is pinged and what it is cut with, and leaves then; answers each ping if it is alive."""

    def __init__(self, node: MemoryNode, number: int, *, alive: bool = True) -> None:
        self.pinged: list[float] = []
        self.codes: list[CloseCode] = []
        self._alive = alive
        self._hub = node.services.hub
        now_ms = node.services.clock()
        ticket = Ticket(
            *(id_of(number), DeviceId(id_of(number)), alice.account, bytes(32)),
            *(frozenset({alice.profile}), now_ms, now_ms + LIFETIME),
        )
        self._peer = Peer(
            ticket,
            Outbox(1_024, overflow=self._ignore, direct=lambda *_: False, request_flush=self._ignore, drops={}),
            self,
            partial(
                Mailbox,
                hub=self._hub,
                log_reader=node.services.log_reader,
                served=node.services.admission.newcomers.leave,
            ),
            now=trio.current_time(),
            number=number,
        )
        self._hub.add(self._peer)

    def _ignore(self) -> None:
        """Nothing is told to it."""

    def ping(self) -> None:
        """Note the time."""
        self.pinged.append(trio.current_time())
        if self._alive:
            self._peer.heard_at = trio.current_time()

    def cut(self, code: CloseCode) -> None:
        """Note the code, and leave."""
        self.codes.append(code)
        self._hub.remove(self._peer)

    def start_soon(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do nothing: it listens to no conversation."""


async def test_everybody_is_pinged_once_a_heartbeat(node: MemoryNode) -> None:
    """With a little jitter, and so that whoever answers is never cut."""
    assert node.services.settings.heartbeat == HEARTBEAT
    connections = [FakeConnection(node, number) for number in range(MANY)]
    await trio.sleep(6 * HEARTBEAT)  # in time that jumps
    for connection in connections:
        assert 4 <= len(connection.pinged) <= 7
        assert connection.codes == []
        pauses = [later - earlier for earlier, later in zip(connection.pinged, connection.pinged[1:], strict=False)]
        assert min(pauses) >= 0.9 * HEARTBEAT
        assert max(pauses) <= 1.1 * HEARTBEAT + 2


async def test_pings_are_spread(node: MemoryNode) -> None:
    """Those who came in the same moment are not pinged in the same moment, neither the first time nor later."""
    connections = [FakeConnection(node, number) for number in range(MANY)]
    await trio.sleep(4 * HEARTBEAT)  # in time that jumps
    at_once = Counter(moment for connection in connections for moment in connection.pinged)
    assert sum(at_once.values()) >= 3 * MANY
    assert max(at_once.values()) <= 2 * PINGS
    assert len({round(connection.pinged[0]) for connection in connections}) >= 0.9 * HEARTBEAT


async def test_the_silent_are_cut_once(node: MemoryNode) -> None:
    """After two and a half heartbeats, not earlier, and the others do not notice."""
    alive, dead = FakeConnection(node, 1), FakeConnection(node, 2, alive=False)
    await trio.sleep(SILENCES * HEARTBEAT - 1)  # in time that jumps
    assert dead.codes == []
    await trio.sleep(3)  # in time that jumps
    assert dead.codes == [CloseCode.HEARTBEAT_MISSED]
    await trio.sleep(5 * HEARTBEAT)  # in time that jumps
    assert (dead.codes, alive.codes) == ([CloseCode.HEARTBEAT_MISSED], [])


@pytest.mark.parametrize("many", [0, 1, SLICE, SLICE + 1])
async def test_a_round_takes_a_second(node: MemoryNode, many: int) -> None:
    """However many there are, each is looked at once a second: a ping that is due is not late by more."""
    connections = [FakeConnection(node, number) for number in range(1, many + 1)]
    await trio.sleep(2)  # in time that jumps
    due = trio.current_time()
    for peer in node.services.hub.peers:
        peer.ping_at = due
    await trio.sleep(2)  # in time that jumps
    assert all(connection.pinged for connection in connections)
