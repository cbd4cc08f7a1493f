"""A link that is older than the last snapshot: its holder verifies everything from the statement that it names on."""

import os

import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.varde.endpoints import endpoint
from tests.varde.memory_relay import ORIGIN, open_client, open_clients
from varde.errors import UntrustedDevice
from varde_contract.links import SECRET_BYTES, GroupLink, public_key
from varde_contract.membership import SNAPSHOT_EVERY
from varde_contract.membership_statements import InviteLink, Policy
from varde_contract.rest.talk import ChainHead
from varde_contract.talk import ConversationKind, Role

FAR_MS = 4_000_000_000_000


@pytest.mark.parametrize("later", [3, SNAPSHOT_EVERY + 3, 2 * SNAPSHOT_EVERY + 3])
@pytest.mark.parametrize("honest", [True, False])
async def test_an_old_link_lets_its_holder_in(
    autojump_clock: MockClock,
    later: int,
    honest: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """Snapshots may have passed since it was made. A link that names another statement is for another group."""
    alice, bob, carol = (endpoint(each) for each in (alice_laptop, bob_phone, carol_phone))
    async with open_clients(ConversationKind.GROUP, alice, bob) as room:
        chain, seed = room.talk.chain, os.urandom(SECRET_BYTES)
        chain.say(alice, InviteLink, public_key(seed), FAR_MS, 1, Role.MEMBER)
        head = ChainHead(chain.now.number, chain.now.head if honest else bytes(32))
        while chain.now.number < later:
            chain.say(alice, Policy, "invite", ("members", "admins")[chain.now.number % 2])
        room.relay.strangers = [carol]
        link = GroupLink(ORIGIN, room.talk.conversation, seed, head)
        async with open_client(room.relay, carol) as client:
            room.talk.endpoints.append(carol)  # its key is known to the server, which does not listen for it yet
            if not honest:
                with pytest.raises(UntrustedDevice, match="link names"):
                    await client.use_link(link)
                assert carol.store.chains.find(room.talk.conversation) is None
                return
            await client.use_link(link)
            found = carol.store.chains.find(room.talk.conversation)
            assert found is not None
            assert replace(found.state, number=0) == replace(chain.now, number=0)
