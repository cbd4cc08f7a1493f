"""Who takes part in the flood: one large room and one of two, and the client that each of them is."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.catalogue import VARDE, entry_of
from bench.clients import Client, PeerClient
from bench.keyring import read_members
from bench.plan import Plan
from bench.varde_client import VardeClient


def plan_of(listeners: int) -> Plan:
    """Return the plan: a room of so many, whose first member floods it, and the pair's room."""
    return Plan(f"1x{listeners},1x2")


def crowd_of(plan: Plan) -> range:
    """Return who is in the large room."""
    return plan.blocks[0].members


def pair_of(plan: Plan) -> range:
    """Return the two in the small one."""
    return plan.blocks[1].members


def make_clients(server: str, authority: str, plan: Plan, members: Iterable[int], folder: Path) -> Iterator[Client]:
    """Make the clients of these members; `folder` holds Varde's keys and tickets."""
    if server != VARDE:
        sealed = entry_of(server).sealed
        yield from (PeerClient(authority, plan.room_of(each), each, sealed=sealed) for each in members)
        return
    keys = read_members(folder)
    for each in members:
        secrets = keys.members[each]
        yield VardeClient(authority, plan.room_of(each), each, secrets, relay_key=keys.node_public)
