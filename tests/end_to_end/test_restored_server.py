"""A server whose database comes back from a dump: clients give back what it lost, and all go on talking."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

import varde
from storage.embedded.cluster import program
from tests.end_to_end.stack import Person, Stack, connected, invite, open_dm, open_group, people, running_stack
from tests.postgres import database, run_sql
from varde_contract.talk import Role

pytestmark = [pytest.mark.xdist_group("end-to-end"), pytest.mark.timeout(300)]
SECONDS = 120


def dump(url: str, file: Path) -> None:
    """Take a dump of a database that is in use."""
    subprocess.run((program("pg_dump"), "-d", url, "-Fc", "-f", str(file)), check=True)


def restore(url: str, file: Path) -> None:
    """Put a dump back into the same Postgres, in place of the database of that name."""
    name, server = urlsplit(url).path[1:], urlsplit(url)._replace(path="/postgres").geturl()
    run_sql(server, f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    subprocess.run((program("pg_restore"), "-d", url, "--no-owner", str(file)), check=True)


async def wait_for_texts(client: varde.Client, conversation: varde.Conversation, wanted: Sequence[str]) -> None:
    """Return when a client has these texts in a conversation, each once, and perhaps others."""
    mine = client.conversation(conversation.id)
    while True:
        found = [message.text for message in mine.history(limit=100)]
        assert all(found.count(text) <= 1 for text in wanted), found
        if set(wanted) <= set(found):
            return
        await trio.sleep(0.05)  # of real time: the relay and the clients are other processes and tasks


@pytest.fixture
def restorable(postgres_url: str, migrated_template: str, tmp_path: Path) -> Iterator[Stack]:
    """A system of one's own."""
    (tmp_path / "server").mkdir()
    with (
        database(postgres_url, migrated_template) as url,
        running_stack(tmp_path / "server", url) as stack,
    ):
        yield stack


async def test_all_go_on_talking_after_a_restore(restorable: Stack, tmp_path: Path) -> None:
    """Members, a dm and a device that came after the dump are known again, and nothing acked is lost."""
    stack = restorable
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    laptops = [(person, "laptop") for person in (alice, bob, carol)]
    with trio.fail_after(SECONDS):
        async with connected(*laptops) as (hers, his, carols):
            dm = await open_dm(hers, his)
            group = await open_group(hers, his)
            await dm.send("kept in the dm")
            await group.send("kept in the group")
            await wait_for_texts(his, group, ["kept in the group"])
            await trio.to_thread.run_sync(dump, stack.database_url, tmp_path / "dump")
            # All of this is lost: a member, a role, a device, a whole dm, a whole account, and messages.
            dave = Person(stack, "dave", tmp_path)
            await dave.sign_up()
            await invite(group, carols)
            async with connected((dave, "laptop")) as (daves,):
                await invite(group, daves)
                await daves.conversation(group.id).send("dave, who is lost")
                for client in (hers, his, carols):
                    await wait_for_texts(client, group, ["dave, who is lost"])
            await group.set_role(his.identity.profiles[0].id, Role.ADMIN)
            await bob.log_in("phone")
            fresh = await open_dm(carols, his)
            lost = [await group.send("lost of alice"), await his.conversation(group.id).send("lost of bob")]
            await carols.conversation(group.id).send("lost of carol")
            await dm.send("lost in the dm")
            await fresh.send("lost in a dm that is lost")
            for client in (hers, his, carols):
                await wait_for_texts(client, group, ["lost of alice", "lost of bob", "lost of carol"])
            await wait_for_texts(his, dm, ["lost in the dm"])
            await wait_for_texts(his, fresh, ["lost in a dm that is lost"])
            assert lost
            stack.stop()
            await trio.to_thread.run_sync(restore, stack.database_url, tmp_path / "dump")
            stack.start()
            # Nobody does anything about it: each writes, as before.
            for client, name in ((hers, "alice"), (his, "bob"), (carols, "carol")):
                await client.conversation(group.id).send(f"new of {name}")
            await dm.send("new in the dm")
            await his.conversation(fresh.id).send("new in the other dm")
            everything = [f"{when} of {name}" for when in ("lost", "new") for name in ("alice", "bob", "carol")]
            for client in (hers, his, carols):
                await wait_for_texts(client, group, everything)
            await wait_for_texts(his, dm, ["kept in the dm", "lost in the dm", "new in the dm"])
            await wait_for_texts(carols, fresh, ["lost in a dm that is lost", "new in the other dm"])
            # And it is one chain again, in which what was decided in that time holds.
            await his.conversation(group.id).remove(carols.identity.profiles[0].id)
            assert {device.device for device in await his.devices()} >= {his.identity.device}
            assert len(await his.devices()) == 2
