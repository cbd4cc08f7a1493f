"""Storage on a PostgreSQL that is not ours, by URL."""

import pytest
import trio

from domain.talk import model as talk
from settings.storage import DatabaseUrl, StorageSettings
from storage.stores import open_storage
from tests import cast
from tests.debian_postgres import GROUP
from varde_contract.ids import ClientId, MessageId, uuid7

pytestmark = pytest.mark.xdist_group(GROUP)


def draft(roster: talk.Roster, writer: cast.CastDevice, number: int) -> talk.Draft:
    """One device writes to everybody."""
    return talk.Draft(
        message=MessageId(uuid7(cast.BIRTH_MS, b"message" + number.to_bytes(3, "big"))),
        conversation=roster.conversation,
        roster_version=roster.version,
        client_id=ClientId(uuid7(cast.BIRTH_MS, b"_client" + number.to_bytes(3, "big"))),
        profile=writer.model.profiles[0],
        device=writer.id,
        sent_ms=cast.BIRTH_MS + number,
        group=b"sealed" + bytes((number,)),
        devices=None,
    )


async def test_a_conversation_lives_on_debians_postgres(debian_url: str) -> None:
    """On PostgreSQL 15 by URL, messages are numbered and stored once, read in order, and gone when all have them."""
    with trio.fail_after(60):
        async with open_storage(StorageSettings(database=DatabaseUrl(debian_url))) as stores:
            await cast.settle(stores, cast.alice, cast.bob)
            conversation = await cast.open_conversation(stores, cast.alice, cast.bob)
            roster = (await stores.conversations.rosters([conversation]))[conversation]
            drafts = [draft(roster, cast.alice_phone, number) for number in range(1, 4)]
            committed = await stores.journal.commit([*drafts, drafts[0]])
            assert [(each.seq, each.duplicate) for each in committed if isinstance(each, talk.Committed)] == [
                *((1, False), (2, False), (3, False)),
                (1, True),
            ]
            request = talk.LogRequest(cast.bob_phone.id, conversation, from_seq=1, limit=10, max_bytes=10_000)
            (page,) = await stores.mailbox.read([request])
            assert page is not None
            assert [entry.ciphertext for entry in page.entries] == [each.group for each in drafts]
            for device in (*cast.bob.devices, cast.alice_laptop):
                await stores.mailbox.confirm([talk.Confirmation(conversation, device.id, 3)])
            (emptied,) = await stores.mailbox.read([request])
            assert emptied is not None
            assert [entry.ciphertext for entry in emptied.entries] == [None] * 3


async def test_a_stale_roster_stores_nothing_on_debians_postgres(debian_url: str) -> None:
    """The one statement that commits checks the roster's version on PostgreSQL 15 as well."""
    with trio.fail_after(60):
        async with open_storage(StorageSettings(database=DatabaseUrl(debian_url))) as stores:
            await cast.settle(stores, cast.carol, cast.dave)
            conversation = await cast.open_conversation(stores, cast.carol, cast.dave)
            roster = (await stores.conversations.rosters([conversation]))[conversation]
            await cast.enrol(stores, cast.dave.further_device("tablet"))
            assert await stores.journal.commit([draft(roster, cast.carol_phone, 1)]) == [talk.RosterOutdated()]
            view = await stores.conversations.view(conversation)
            assert view is not None
            assert view.head == 0
