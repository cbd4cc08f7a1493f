"""What the operator tries in the database: a device written into an account, and two readers shown two histories."""

from uuid import UUID

import varde
from demo.chapters.database_search import run_sql
from demo.context import DemoContext
from demo.promises import BrokenPromise, expect
from varde.clock import fresh_id
from varde.events import Break, Message, TranscriptBroken
from varde_contract.noise import KeyPair

_APPEAR = """
    INSERT INTO device_account (device_id, account_id)
    SELECT '{ghost}', account_id FROM device_account WHERE device_id = '{device}';
    INSERT INTO device (account_id, device_id, noise_key, signing_key, identity_key, profiles, created_ms)
    SELECT account_id, '{ghost}', '\\x{noise}', signing_key, '\\x{identity}', profiles, created_ms
    FROM device WHERE device_id = '{device}';
"""
_MOVE = "UPDATE conversation SET roster_version = roster_version + 1 WHERE conversation_id = '{conversation}';"
_VANISH = "DELETE FROM device WHERE device_id = '{ghost}';"
_SWAP = """
    UPDATE {table} SET seq = {far} + {one} + {two} - seq WHERE {here} AND seq IN ({one}, {two});
    UPDATE {table} SET seq = seq - {far} WHERE {here} AND seq > {far};
"""


async def ghost_device(context: DemoContext) -> None:
    """Alice writes to Bob, in whose account a device stands that his own list does not have."""
    assert context.dm is not None
    phone, ghost = context.device("bob", "phone"), fresh_id()
    keys = {"noise": KeyPair.generate().public.hex(), "identity": KeyPair.generate().public.hex()}
    appear = _APPEAR.format(ghost=ghost, device=phone.id, **keys)
    async with context.device("alice", "phone").online() as alice, phone.online() as bob:
        await run_sql(context.system.database_url, appear + _MOVE.format(conversation=context.dm))
        async with context.transcript.promise(
            "a device that the operator wrote into Bob's account is refused by Alice's app: his list does not have it"
        ):
            await _expect_refused(alice.client.conversation(context.dm), ghost)
        heard = len(bob.inbox.of(Message))
        await run_sql(context.system.database_url, _VANISH.format(ghost=ghost) + _MOVE.format(conversation=context.dm))
        async with context.transcript.promise("when it is gone they talk on, and nothing was said meanwhile"):
            await alice.client.conversation(context.dm).refresh()
            expect(len(bob.inbox.of(Message)), heard)
            await context.send_text(alice.client.conversation(context.dm), "Bob, somebody stood in your account.")
            await bob.inbox.wait_text(context.dm, context.sent_texts[-1])


async def _expect_refused(conversation: varde.Conversation, ghost: UUID) -> None:
    try:
        await conversation.refresh()
    except varde.UntrustedDevice:
        expect(ghost in {device.device for device in conversation.roster.devices}, expected=False)
        return
    raise BrokenPromise("a refused roster", "a roster with a ghost was taken in")


async def forked_history(context: DemoContext) -> None:
    """Bob's phone has read two messages of Alice when the operator exchanges them for his laptop."""
    assert context.dm is not None
    async with context.device("alice", "phone").online() as alice, context.device("bob", "phone").online() as phone:
        conversation = alice.client.conversation(context.dm)
        sent = [await context.send_text(conversation, text) for text in ("Shall we sell? No.", "On reflection: yes.")]
        await phone.inbox.wait_text(context.dm, context.sent_texts[-1])
        told = context.sent_texts[-2:]
        expect([text for text in phone.inbox.texts(context.dm) if text in told], told)
    await _exchange(context, *(each.seq for each in sent))
    async with context.device("bob", "laptop").online() as laptop:
        async with context.transcript.promise(
            "the operator shows Bob's laptop two messages the other way round than his phone, and it says so at once"
        ):
            await laptop.inbox.wait(
                lambda inbox: any(
                    (broken.device, broken.why) == (context.device("alice", "phone").id, Break.REORDERED)
                    for broken in inbox.of(TranscriptBroken)
                )
            )
        async with context.transcript.promise("it shows them all the same: a warning hides nothing"):
            await laptop.inbox.wait_text(context.dm, told[0])
            expect([text for text in laptop.inbox.texts(context.dm) if text in told], told[::-1])


async def _exchange(context: DemoContext, one: int, two: int) -> None:
    here = f"conversation_id = '{context.dm}'"
    # In two steps over numbers that nobody has: a key is checked row by row.
    swaps = [_SWAP.format(table=table, here=here, one=one, two=two, far=10**12) for table in ("message", "cipher")]
    await run_sql(context.system.database_url, "".join(swaps))
