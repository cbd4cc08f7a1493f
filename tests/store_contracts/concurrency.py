"""Writers, readers, members, devices and sweeps that work on the same conversations at once."""

from collections.abc import Sequence

import trio

from domain.ports import Stores
from domain.talk import model as talk_model
from tests.cast import (
    BIRTH_MS,
    CastDevice,
    Person,
    alice,
    alice_phone,
    bob_phone,
    carol,
    carol_phone,
    put_member,
    remove_member,
    set_profiles,
)
from tests.store_contracts.messages import draft, version_of
from varde_contract.ids import ConversationId

ROUNDS = 12


async def write(
    stores: Stores, talks: Sequence[ConversationId], written: list[talk_model.Committed | talk_model.RosterOutdated]
) -> None:
    """Commit to all conversations at once, again and again, in whatever state the rosters are."""
    for _ in range(ROUNDS):
        versions = [await version_of(stores, talk) for talk in talks]
        drafts = [draft(bob_phone, talk, version=at) for talk, at in zip(talks, versions, strict=True)]
        written += await stores.journal.commit(drafts)


async def change_members(stores: Stores, talk: ConversationId, person: Person) -> None:
    """Add and remove the person's other mode."""
    for _ in range(ROUNDS):
        await put_member(stores, talk, person, profile=person.jobb.id)
        await remove_member(stores, talk, person, profile=person.jobb.id)


async def change_whitelist(stores: Stores, device: CastDevice) -> None:
    """Take modes off the device's whitelist, and put them back."""
    for number in range(ROUNDS):
        profiles = (device.model.profiles[:1], device.model.profiles, device.model.profiles[1:])[number % 3]
        await set_profiles(stores, device.model.account, device.id, profiles, BIRTH_MS + number)


async def confirm_all(stores: Stores, talks: Sequence[ConversationId], device: CastDevice) -> None:
    """Confirm in all conversations at once, in another order than the writers'."""
    for upto in range(1, 2 * ROUNDS):
        await stores.mailbox.confirm([talk_model.Confirmation(talk, device.id, upto) for talk in reversed(talks)])


async def sweep_all(stores: Stores) -> None:
    """Sweep what the others are at."""
    for number in range(ROUNDS):
        await stores.retention.sweep(BIRTH_MS + number, retention_ms=0, limit=5)


async def run_concurrently(
    nodes: tuple[Stores, Stores], talks: Sequence[ConversationId]
) -> list[talk_model.Committed | talk_model.RosterOutdated]:
    """Let all of them work on both nodes, in conversations of Alice, Bob and Carol; return what the journals said."""
    written: list[talk_model.Committed | talk_model.RosterOutdated] = []
    async with trio.open_nursery() as nursery:
        for stores in nodes:
            nursery.start_soon(write, stores, talks, written)
            nursery.start_soon(change_members, stores, talks[0], alice)
            nursery.start_soon(change_members, stores, talks[2], carol)
            nursery.start_soon(confirm_all, stores, talks, bob_phone)
            nursery.start_soon(sweep_all, stores)
        nursery.start_soon(change_whitelist, nodes[0], alice_phone)
        nursery.start_soon(change_whitelist, nodes[1], carol_phone)
    return written
