"""A sender that is gone by the time it is read, over the real system."""

from pathlib import Path

import pytest

import varde
from tests.end_to_end.stack import Person, Stack, connected, invite, open_dm, open_group, people

pytestmark = pytest.mark.xdist_group("end-to-end")


@pytest.mark.parametrize("kind", ["dm", "group"])
async def test_what_a_revoked_device_wrote_is_read(stack: Stack, tmp_path: Path, kind: str) -> None:
    """Bob is off while a phone he never met writes, and is revoked: he reads everything, and the talk goes on."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        talk = await (open_dm if kind == "dm" else open_group)(hers, his)
        await talk.send("fra laptopen")
        assert await read(his, talk, 1) == ["fra laptopen"]
    await write_and_revoke(alice, talk, "fra telefonen", "og en til")
    async with connected((bob, "laptop"), (alice, "laptop")) as (his, hers):
        assert await read(his, talk, 3) == ["fra telefonen", "og en til", "den er borte"]
        assert not his.conversation(talk.id).losses()
        await his.conversation(talk.id).send("lest")
        assert await read(hers, talk, 3) == ["fra telefonen", "og en til", "lest"]


async def write_and_revoke(person: Person, talk: varde.Conversation, *said: str) -> None:
    """The person's new phone writes, the laptop revokes it, and says so."""
    await person.log_in("phone")
    async with connected((person, "phone")) as (phone,):
        for text in said:
            await phone.conversation(talk.id).send(text)
    async with connected((person, "laptop")) as (laptop,):
        await laptop.revoke_device(phone.identity.device)
        await laptop.conversation(talk.id).send("den er borte")


async def test_what_somebody_wrote_before_leaving_is_read(stack: Stack, tmp_path: Path) -> None:
    """Carol joins, writes and leaves while Bob is off; nothing he has ever seen names her, and he reads her."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        group = await open_group(hers, his)
        await group.send("vi to")
        assert await read(his, group, 1) == ["vi to"]
    async with connected((alice, "laptop"), (carol, "laptop")) as (hers, carols):
        theirs = carols.identity.profiles[0].id
        await invite(hers.conversation(group.id), carols)
        await carols.conversation(group.id).send("innom")
        await carols.conversation(group.id).leave()
    async with connected((bob, "laptop")) as (his,):
        message = await anext(aiter(his.conversation(group.id)))
        assert (message.text, message.account, message.profile) == ("innom", carols.identity.account, theirs)
        assert theirs not in {member.profile for member in his.conversation(group.id).members}
        assert not his.conversation(group.id).losses()


async def read(client: varde.Client, talk: varde.Conversation, count: int) -> list[str]:
    """The next texts of the conversation, as one client reads it."""
    messages = aiter(client.conversation(talk.id))
    return [(await anext(messages)).text for _ in range(count)]
