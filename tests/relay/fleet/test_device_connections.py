"""One connection of a device in the whole fleet, whatever the clocks say and the bus loses."""

import pytest
import trio

from domain.people.events import DeviceConnected
from relay.fleet.peer_nodes import BEAT
from tests.cast import CastDevice, alice, alice_laptop, alice_phone, bob, bob_phone
from tests.relay.client import StreamClient
from tests.relay.memory_node import Backend, MemoryNode, open_node, open_room
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.session import Pattern, State


def number_of(node: MemoryNode, device: CastDevice) -> int:
    """The number of a device's connection here."""
    peer = node.services.hub.find(device.id)
    assert peer is not None
    return peer.number


class LateClient(StreamClient):
    """A client whose first message that only the owner of its key can write stays under way: `proof`."""

    def __init__(self, node: MemoryNode, device: CastDevice, pattern: Pattern) -> None:
        opened = node.open_client(device, pattern)
        super().__init__(opened.stream, opened.session)
        self.proof: bytes | None = None

    def take_message(self, message: bytes) -> None:
        """Answer nothing."""
        self.proof = super().take_message(message)
        if self.session.state is State.LIVE:
            self.proof = self.session.send(f.Join())


async def test_a_device_that_connects_elsewhere_replaces_its_older_connection(backend: Backend) -> None:
    """The older one is closed as on one node, at once; other devices stay."""
    roster = await open_room(backend, alice, bob)
    async with open_node(backend) as one, open_node(backend) as other:
        older = await one.listen(bob_phone, roster.conversation)
        stranger = await one.listen(alice_laptop, roster.conversation)
        newer = await other.listen(bob_phone, roster.conversation)
        assert (await older.wait_closed()).code == CloseCode.REPLACED
        assert one.services.hub.find(bob_phone.id) is None
        again = await one.listen(bob_phone, roster.conversation)  # and back
        assert (await newer.wait_closed()).code == CloseCode.REPLACED
        for client in again, stranger:
            assert await client.receive_pending() == []


async def test_a_clock_that_is_ahead_does_not_win(node: MemoryNode, backend: Backend) -> None:
    """The newer connection stays although the node of the older one believes it to be next week."""
    await open_room(backend, alice, bob)
    next_week = backend.clock() + 7 * 24 * 3_600_000
    backend.bus.publish_nowait([DeviceConnected("elsewhere", bob_phone.id, next_week)])
    phone = await node.connect_client(bob_phone)
    assert number_of(node, bob_phone) > next_week
    assert await phone.receive_pending() == []
    # The older one says it again, late: that changes nothing.
    backend.bus.publish_nowait([DeviceConnected("elsewhere", bob_phone.id, next_week)])
    assert await phone.receive_pending() == []
    assert node.services.hub.find(bob_phone.id) is not None


async def test_of_two_at_the_same_moment_one_stays(node: MemoryNode, backend: Backend) -> None:
    """Equal numbers are told apart by the nodes' names, on both sides alike."""
    await open_room(backend, alice, bob)
    phone, laptop = await node.connect_client(bob_phone), await node.connect_client(alice_laptop)
    backend.bus.publish_nowait(
        [
            DeviceConnected("~ comes last", bob_phone.id, number_of(node, bob_phone)),
            DeviceConnected(" comes first", alice_laptop.id, number_of(node, alice_laptop)),
        ]
    )
    assert (await phone.wait_closed()).code == CloseCode.REPLACED
    assert await laptop.receive_pending() == []


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.IK])
@pytest.mark.parametrize("nodes", [1, 2])
async def test_a_proof_that_is_read_late_replaces_nothing(backend: Backend, nodes: int, pattern: Pattern) -> None:
    """A client gives a slow node up and connects anew; what that node then reads of it ends the old connection."""
    await open_room(backend, alice, bob)
    async with open_node(backend) as one, open_node(backend) as other:
        late = LateClient(one, bob_phone, pattern)
        await late.upgrade()
        await late.send_message(late.session.open())
        while late.proof is None:
            await late.read()
        backend.clock.advance(1_000)
        living = await (one, other)[nodes - 1].connect_client(bob_phone)
        backend.clock.advance(1_000)
        await late.send_message(late.proof)
        assert (await late.wait_closed()).code == CloseCode.REPLACED
        assert await living.receive_pending() == []
        hubs = [node.services.hub.find(bob_phone.id) for node in (one, other)]
        assert [peer is not None for peer in hubs] == [nodes == 1, nodes == 2]


async def test_who_connected_while_the_bus_was_away_is_told_again(backend: Backend) -> None:
    """The older connection goes as soon as the bus is back. Who was there long before is not told of again."""
    await open_room(backend, alice, bob)
    async with open_node(backend) as one, open_node(backend) as other:
        await other.connect_client(alice_phone)
        older = await one.connect_client(bob_phone)
        backend.clock.advance(60_000)
        backend.bus.losing, backend.bus.connected = True, False
        await other.connect_client(bob_phone)
        backend.clock.advance(60_000)
        await trio.sleep(BEAT)  # in time that jumps
        assert one.services.hub.find(bob_phone.id) is not None
        backend.bus.losing, backend.bus.connected, backend.bus.down_seconds = False, True, 60.0
        before = len(backend.bus.published)
        backend.bus.lose_track()
        assert (await older.wait_closed()).code == CloseCode.REPLACED
        assert [event.device for event in backend.bus.published[before:] if isinstance(event, DeviceConnected)] == [
            bob_phone.id
        ]
