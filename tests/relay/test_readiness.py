"""Why a load balancer sends no clients to a node."""

import trio
from msgspec.structs import replace

from domain.fleet.model import NodeReport
from relay.fleet.peer_nodes import BEAT
from relay.readiness import LOOK
from tests.cast import alice, alice_laptop, settle
from tests.relay.memory_node import Backend, MemoryNode, open_node

OTHER = NodeReport(name="other-1", address="192.0.2.9:1", version="9", started_ms=0, connections=0, capacity=1)


def reasons(node: MemoryNode) -> list[str]:
    """Why the node is not ready."""
    return list(node.services.readiness.reasons)


async def test_a_node_is_ready_until_there_is_a_reason(node: MemoryNode, backend: Backend) -> None:
    """A schema that needs newer programs, and a drain: each is named."""
    assert reasons(node) == []
    backend.memory.schema_fits = False
    await trio.sleep(2 * LOOK)  # in time that jumps
    node.services.begin_drain()
    assert reasons(node) == ["draining", "schema"]


async def test_a_full_node_wants_nobody(backend: Backend) -> None:
    """Newcomers are sent elsewhere; who is connected stays."""
    async with open_node(backend, connections=1) as node:
        await settle(backend.stores, alice)
        await node.connect_client(alice_laptop)
        assert reasons(node) == ["full"]


async def test_the_bus_counts_while_another_node_hears_it(node: MemoryNode, backend: Backend) -> None:
    """A node that is cut off sends its newcomers elsewhere. When all are, turning everybody away would help nobody."""
    backend.bus.connected = False
    assert reasons(node) == []
    await backend.stores.nodes.beat(OTHER)
    await trio.sleep(2 * BEAT)  # in time that jumps
    assert reasons(node) == ["bus"]
    await backend.stores.nodes.beat(replace(OTHER, bus=False))
    await trio.sleep(2 * BEAT)  # in time that jumps
    assert reasons(node) == []
