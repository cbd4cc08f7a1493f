"""People talk over the real system: sign-up, dm, group, several devices, and being away."""

from pathlib import Path

import pytest
import trio

import varde
from tests.end_to_end.stack import SECONDS, Stack, connected, invite, open_dm, open_group, people, texts
from varde.rest import Rest
from varde_contract.rest.talk import MessageStored, NewMessage

pytestmark = pytest.mark.xdist_group("end-to-end")


@pytest.fixture
def sent_by_rest(monkeypatch: pytest.MonkeyPatch) -> list[NewMessage]:
    """What clients send over REST from now on."""
    sent: list[NewMessage] = []
    send = Rest.send

    async def send_and_note(self: Rest, new: NewMessage) -> MessageStored:
        sent.append(new)
        return await send(self, new)

    monkeypatch.setattr(Rest, "send", send_and_note)
    return sent


async def test_two_people_talk(stack: Stack, tmp_path: Path) -> None:
    """Both ways, each message once, with the number it was acked with."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        conversation = await open_dm(hers, his)
        sent = await conversation.send("hei bob")
        message = await anext(aiter(his.conversation(conversation.id)))
        assert (message.text, message.seq, message.account) == ("hei bob", sent.seq, hers.identity.account)
        await his.conversation(conversation.id).send("hei alice")
        assert (await anext(aiter(conversation))).text == "hei alice"
        assert hers.safety_number(his.identity.account) == his.safety_number(hers.identity.account)


async def test_a_group_with_several_devices(stack: Stack, tmp_path: Path) -> None:
    """Everybody in a group reads everything on every device, in one order, also a device that was off."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        group = await open_group(hers, his, carols)
        for client, text in ((hers, "en"), (his, "to"), (carols, "tre"), (hers, "fire")):
            await client.conversation(group.id).send(text)
        assert await texts(his, group, 3) == ["en", "tre", "fire"]
        assert await texts(carols, group, 3) == ["en", "to", "fire"]
    async with connected((bob, "phone")) as (phone,):
        messages = aiter(phone.conversation(group.id))
        read = [await anext(messages) for _ in range(4)]
        assert [message.text for message in read] == ["en", "to", "tre", "fire"]
        assert [message.mine for message in read] == [False, True, False, False]
        assert not phone.conversation(group.id).losses()


async def test_a_group_key_in_three_parts(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent_by_rest: list[NewMessage]
) -> None:
    """A group with more devices than one send may name: everybody reads everything, one who was off too."""
    monkeypatch.setattr("varde.crypto.keychain.DEVICES_PER_PART", 1)
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        group = await open_group(hers, his, carols)
        first, second = await group.send("en"), await group.send("to")
        assert second.seq == first.seq + 1
        assert [(each.part, len(each.devices or ())) for each in sent_by_rest] == [(True, 1)] * 3
        assert len({device for each in sent_by_rest for device in each.devices or ()}) == 3
        assert await texts(his, group, 2) == await texts(carols, group, 2) == ["en", "to"]
        await carols.conversation(group.id).send("tre")
        assert await texts(hers, group, 1) == ["tre"]
        assert not any(client.conversation(group.id).losses() for client in (hers, his, carols))
    async with connected((bob, "phone")) as (phone,):
        assert await texts(phone, group, 3) == ["en", "to", "tre"]
        assert not phone.conversation(group.id).losses()


async def test_a_new_device_reads_on_from_its_beginning(stack: Stack, tmp_path: Path) -> None:
    """A device that is added while others talk gets the next message of who knows of it, and nothing from before."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        conversation = await open_dm(hers, his)
        await conversation.send("før")
        await bob.log_in("phone")
        async with connected((bob, "phone")) as (phone,):
            # For ten seconds the relay also takes what is encrypted for the roster of before, without the phone.
            await conversation.refresh()
            sent = await conversation.send("etter")
            message = await anext(aiter(phone.conversation(conversation.id)))
            assert (message.text, message.seq) == ("etter", sent.seq)
            await phone.conversation(conversation.id).send("fra telefonen")
            assert await texts(hers, conversation, 1) == ["fra telefonen"]
            assert await texts(his, conversation, 3) == ["før", "etter", "fra telefonen"]


async def test_a_killed_relay_loses_nothing(stack: Stack, tmp_path: Path) -> None:
    """The relay is killed twice while two people write: every acked message arrives once and in order, both ways."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        conversation = await open_dm(hers, his)
        acked: dict[varde.Client, list[str]] = {hers: [], his: []}

        async def write(client: varde.Client) -> None:
            for number in range(60):
                text = f"{client.identity.device} {number}"
                await client.conversation(conversation.id).send(text)
                acked[client].append(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, hers)
            nursery.start_soon(write, his)
            for milestone in (10, 30):
                while len(acked[hers]) < milestone:  # noqa: ASYNC110 - what is waited for is counted by acks
                    await trio.sleep(0.01)
                stack.relay.kill()
                await trio.to_thread.run_sync(stack.relay.start)
        assert await texts(hers, conversation, 60) == acked[his]
        assert await texts(his, conversation, 60) == acked[hers]
        assert [each.seq for each in conversation.history(200)] == list(range(4, 124))


async def test_a_revoked_device_is_cut(stack: Stack, tmp_path: Path) -> None:
    """It is told so at once, cannot come back, and nothing is sealed for it any more; the others talk on."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "laptop"), (bob, "phone")) as (hers, his, phone):
        group = await open_group(hers, his)
        await group.send("alle tre")
        assert await texts(phone, group, 1) == ["alle tre"]
        await his.revoke_device(phone.identity.device)
        with pytest.raises(varde.DeviceRevoked):
            async for _ in phone.events():
                pass
        with pytest.raises(varde.VardeError):
            await phone.conversation(group.id).send("jeg er her ennå")
        await group.send("to igjen")
        assert await texts(his, group, 2) == ["alle tre", "to igjen"]
    with trio.fail_after(SECONDS):
        async with varde.connect(bob.home("phone"), bob.key("phone")) as phone:
            with pytest.raises(varde.VardeError):
                await phone.wait_connected()


async def test_who_is_removed_hears_nothing_more(stack: Stack, tmp_path: Path) -> None:
    """After a removal the group goes on with keys that the removed one never had; who is added hears from then on."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        group = await open_group(hers, his)
        await group.send("bare vi to")
        await invite(group, carols)
        await group.send("hei carol")
        assert await texts(carols, group, 1) == ["hei carol"]
        assert await texts(his, group, 2) == ["bare vi to", "hei carol"]
        await group.remove(his.identity.profiles[0].id)
        await group.send("uten bob")
        assert await texts(carols, group, 1) == ["uten bob"]
        with pytest.raises(varde.VardeError):
            await his.conversation(group.id).send("hva med meg?")
        assert {member.profile for member in group.members} == {
            hers.identity.profiles[0].id,
            carols.identity.profiles[0].id,
        }


async def test_a_large_message_goes_around_the_relay(stack: Stack, tmp_path: Path) -> None:
    """A text whose ciphertexts do not fit one Noise message is sent by the API and read like any other."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        conversation = await open_dm(hers, his)
        await conversation.send("x" * 40_000)
        await conversation.send("kort")
        assert await texts(his, conversation, 2) == ["x" * 40_000, "kort"]


async def test_talking_goes_on_without_the_api(stack: Stack, tmp_path: Path) -> None:
    """Who has met talks over the relay alone, also after a reconnect: tickets live for a day."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        conversation = await open_dm(hers, his)
        await conversation.send("før")
        await his.conversation(conversation.id).send("ja")
        stack.api.stop()
        try:
            stack.relay.kill()
            await trio.to_thread.run_sync(stack.relay.start)
            await conversation.send("uten")
            assert await texts(his, conversation, 2) == ["før", "uten"]
        finally:
            await trio.to_thread.run_sync(stack.api.start)


async def test_reading_is_seen(stack: Stack, tmp_path: Path) -> None:
    """What was delivered and read is told to the sender, and own devices agree on how far was read."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "laptop"), (bob, "phone")) as (hers, his, phone):
        conversation = await open_dm(hers, his)
        heard, phones = hers.events(), phone.events()
        sent = await conversation.send("lest?")
        await texts(his, conversation, 1)
        await his.conversation(conversation.id).read(sent.seq)
        profile = his.identity.profiles[0].id
        async for each in heard:
            if each == varde.Receipt(conversation.id, profile, sent.seq, read=True):
                break
        async for each in phones:
            if isinstance(each, varde.Receipt) and each.read:
                break
        assert phone.conversation(conversation.id).read_upto == sent.seq


async def test_notes_are_on_all_own_devices(stack: Stack, tmp_path: Path) -> None:
    """A conversation with oneself is one on every device, and nobody else's."""
    (alice,) = await people(stack, tmp_path, "alice")
    await alice.log_in("phone")
    async with connected((alice, "laptop"), (alice, "phone")) as (laptop, phone):
        notes = await laptop.open_self()
        assert (await phone.open_self()).id == notes.id
        await notes.send("husk melk")
        assert await texts(phone, notes, 1) == ["husk melk"]


async def test_logging_out_leaves_the_account(stack: Stack, tmp_path: Path) -> None:
    """A device that logged out is no device any more, and its folder says so."""
    (alice,) = await people(stack, tmp_path, "alice")
    await alice.log_in("phone")
    async with connected((alice, "laptop"), (alice, "phone")) as (laptop, phone):
        assert len(await laptop.devices()) == 2
        await phone.log_out()
        assert [each.device for each in await laptop.devices()] == [laptop.identity.device]
        assert len(await laptop.sessions()) == 1
    with trio.fail_after(SECONDS):
        async with varde.connect(alice.home("phone"), alice.key("phone")) as phone:
            with pytest.raises(varde.SignedOut):
                await phone.wait_connected()


async def test_strangers_stay_strangers(stack: Stack, tmp_path: Path) -> None:
    """An account that is no member can neither write to a conversation, nor look at it, nor add itself."""
    alice, bob, mallory = await people(stack, tmp_path, "alice", "bob", "mallory")
    async with connected((alice, "laptop"), (bob, "laptop"), (mallory, "laptop")) as (hers, his, mallorys):
        group = await open_group(hers, his)
        outside = mallorys.conversation(group.id)
        for attempt in (outside.send("hei"), outside.refresh(), outside.invite(mallorys.identity.profiles[0].id)):
            with pytest.raises(varde.NotFound):
                await attempt
        await group.send("oss to")
        assert await texts(his, group, 1) == ["oss to"]
