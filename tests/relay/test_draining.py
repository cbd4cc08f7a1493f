"""Connections that are asked to go: spread over time, and gone in time."""

import pytest
import trio

from domain.fleet.model import Action
from relay.delivery.hub import Hub
from relay.draining import LEAVE, TICK, ask_to_go
from relay.fleet.peer_nodes import BEAT
from settings.relay import RelaySettings
from tests.cast import alice, alice_laptop, bob, bob_phone
from tests.ids import id_of
from tests.relay.memory_node import Backend, MemoryNode, open_room
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import DeviceId

MANY = 10_000
DEADLINE = 20.0


class FakePeer:
    """A peer that remembers when it was asked to go, and goes by itself if `polite`."""

    def __init__(self, hub: Hub, number: int, *, polite: bool) -> None:
        self.device = DeviceId(id_of(number))
        self.connection = self
        self.number = number
        self.listeners: dict[object, object] = {}
        self.asked_at = self.cut_at = -1.0
        self._hub = hub
        self._polite = polite

    def send_goaway(self, goaway: f.Goaway) -> None:
        """As the product's."""
        assert goaway.why is CloseCode.DRAINING
        self.asked_at = trio.current_time()
        if self._polite:
            self._hub.remove(self)  # type: ignore[arg-type]

    def cut(self, code: CloseCode) -> None:
        """As the product's."""
        assert code is CloseCode.DRAINING
        self.cut_at = trio.current_time()
        self._hub.remove(self)  # type: ignore[arg-type]


def crowd(count: int, *, polite: bool) -> tuple[Hub, list[FakePeer]]:
    """A hub full of peers."""
    hub = Hub()
    peers = [FakePeer(hub, number, polite=polite) for number in range(count)]
    for peer in peers:
        hub.add(peer)  # type: ignore[arg-type]
    return hub, peers


@pytest.mark.parametrize("polite", [True, False])
async def test_ten_thousand_go_spread_and_in_time(*, polite: bool, autojump_clock: object) -> None:
    """Within the deadline all have gone, and in no second more than another node takes, asked to or cut."""
    hub, peers = crowd(MANY, polite=polite)
    begun = trio.current_time()
    await ask_to_go(hub, peers, DEADLINE)  # type: ignore[arg-type]
    assert len(hub) == 0
    assert trio.current_time() - begun <= DEADLINE + TICK
    for moments in ([peer.asked_at for peer in peers], [peer.cut_at for peer in peers]):
        if polite and moments[0] < 0:
            continue
        for second in range(int(DEADLINE)):
            together = sum(begun + second <= moment < begun + second + 1 for moment in moments)
            assert together <= RelaySettings().handshakes_per_second * (1 + 2 * TICK)


async def test_few_go_at_once(autojump_clock: object) -> None:
    """A node with a handful of clients does not spread them over a quarter of a minute."""
    hub, peers = crowd(5, polite=True)
    begun = trio.current_time()
    await ask_to_go(hub, peers, DEADLINE)  # type: ignore[arg-type]
    assert trio.current_time() - begun <= 2 * TICK


async def test_without_time_all_go_at_once(autojump_clock: object) -> None:
    """When everything ends together there is no other node to go to."""
    hub, peers = crowd(5, polite=False)
    begun = trio.current_time()
    await ask_to_go(hub, peers, 0.0)  # type: ignore[arg-type]
    assert (trio.current_time() - begun, len(hub)) == (0.0, 0)
    assert all(peer.asked_at == peer.cut_at == begun for peer in peers)


async def test_a_share_is_shed(node: MemoryNode, backend: Backend) -> None:
    """Half of two connections is one: it is asked to go and cut, and the node goes on with the other."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.listen(bob_phone, roster.conversation)
    await backend.stores.nodes.order(node.services.node, Action.SHED, 50)
    await trio.sleep(2 * BEAT + LEAVE)  # in time that jumps
    (stays,) = node.services.hub.peers
    gone, kept = (laptop, phone) if stays.device == bob_phone.id else (phone, laptop)
    assert (await gone.receive(f.Goaway)).why == CloseCode.DRAINING
    assert await kept.receive_pending() == []
    assert not node.services.draining.is_set()
