"""A device whose session ended comes back over the real system, as the device it was."""

from pathlib import Path

import pytest
import trio

import varde
from tests.end_to_end.stack import SECONDS, Person, Stack, connected, open_dm, open_group, people, texts
from varde.reconnector import TICKET
from varde.store.store import open_store

pytestmark = pytest.mark.xdist_group("end-to-end")


async def end_session_of(client: varde.Client, device: varde.DeviceId) -> None:
    """End the session of another device of the account."""
    (session,) = (each.session for each in await client.sessions() if each.device == device)
    await client.end_session(session)


async def come_back(stack: Stack, person: Person, device: str) -> varde.Identity:
    """Sign a device in again."""
    await varde.request_code(stack.api_url, person.email)
    code = stack.code_for(person.email)
    return await varde.sign_in_again(person.home(device), person.key(device), email=person.email, code=code)


async def let_ticket_run_out(person: Person, device: str) -> None:
    """As after a day: the session is needed for the next one."""
    async with open_store(person.home(device), person.key(device)) as store:
        with store.transaction():
            store.settings.remove(TICKET)


async def test_a_device_whose_session_was_ended_comes_back(stack: Stack, tmp_path: Path) -> None:
    """It is told that it is signed out; signed in again it gets what waited, in order, and both ways talk goes on."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "phone")) as (hers, phone):
        async with connected((bob, "laptop")) as (his,):
            me = his.identity
            dm, group = await open_dm(hers, his), await open_group(hers, his)
            for conversation in (dm, group):
                await conversation.send("før")
                assert await texts(his, conversation, 1) == ["før"]
                await his.conversation(conversation.id).send("svar")
                assert await texts(hers, conversation, 1) == ["svar"]
            await end_session_of(phone, me.device)
            with pytest.raises(varde.SignedOut):
                await his.devices()
        for conversation in (dm, group):
            await conversation.send("ventet")
            await conversation.send("ventet lenger")
        await let_ticket_run_out(bob, "laptop")
        async with varde.connect(bob.home("laptop"), bob.key("laptop")) as his:
            with pytest.raises(varde.SignedOut) as caught:
                await his.wait_connected()
        assert "varde.sign_in_again" in caught.value.advice

        assert await come_back(stack, bob, "laptop") == me
        async with connected((bob, "laptop")) as (his,):
            for conversation in (dm, group):
                assert await texts(his, conversation, 2) == ["ventet", "ventet lenger"]
                await his.conversation(conversation.id).send("tilbake")
                assert await texts(hers, conversation, 1) == ["tilbake"]
                assert not his.conversation(conversation.id).losses()
                assert not conversation.losses()
            devices = {me.device, phone.identity.device}
            assert {each.device for each in await his.devices()} == devices
            assert {each.device for each in await his.sessions()} == devices
            assert len(await his.sessions()) == len(devices)


async def test_a_revoked_device_does_not_come_back(stack: Stack, tmp_path: Path) -> None:
    """A code of the account's mailbox does not bring it back, and leaves no session."""
    (alice,) = await people(stack, tmp_path, "alice")
    revoked = await alice.log_in("phone")
    with trio.fail_after(SECONDS):
        async with connected((alice, "laptop")) as (laptop,):
            await laptop.revoke_device(revoked.device)
            with pytest.raises(varde.DeviceRevoked):
                await come_back(stack, alice, "phone")
            assert [each.device for each in await laptop.sessions()] == [laptop.identity.device]


async def test_another_account_does_not_take_a_device(stack: Stack, tmp_path: Path) -> None:
    """Somebody else's mailbox opens nothing here, and the session it opened is ended."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    with trio.fail_after(SECONDS):
        await varde.request_code(stack.api_url, bob.email)
        code = stack.code_for(bob.email)
        with pytest.raises(varde.WrongAccount):
            await varde.sign_in_again(alice.home("laptop"), alice.key("laptop"), email=bob.email, code=code)
        async with connected((bob, "laptop")) as (his,):
            assert [each.device for each in await his.sessions()] == [his.identity.device]
