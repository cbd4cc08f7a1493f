"""An operator suspends an account and revokes a device: they are cut off, and nothing that they have lets them in."""

import os
import re
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

import varde
from operations.commands import server
from operations.people_commands import target_of
from tests.end_to_end.stack import Person, Stack, connected, open_dm, people, texts

pytestmark = pytest.mark.xdist_group("end-to-end")


@pytest.fixture(autouse=True)
def _operator(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands read, as the owner of the database."""
    monkeypatch.setenv("VARDE_DATABASE_URL", stack.database_url)
    monkeypatch.setenv("VARDE_DATA", str(stack.data))
    for name in [name for name in os.environ if name.startswith("VARDE_SMTP")]:
        monkeypatch.delenv(name)


async def run(*words: str, fails: bool = False) -> str:
    """What a command said."""
    done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(server, words))
    assert (done.exit_code != 0) is fails, done.output
    return done.output


async def test_who_is_suspended_is_cut_off_and_comes_back(stack: Stack, tmp_path: Path) -> None:
    """No connection, no token and no code gets in; messages wait; afterwards the same device has them."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop")) as (hers,):
        async with connected((bob, "laptop")) as (his,):
            conversation = await open_dm(hers, his)
            await run("account", "suspend", bob.email)
            with pytest.raises(varde.SignedOut):
                async for _ in his.events():  # the relay has cut it, and the API gives no ticket
                    pass
        assert "is suspended" in await run("account", "show", bob.email)
        with pytest.raises(varde.NotAllowed, match="suspended"):
            await sign_in_again(stack, bob)
        await conversation.send("until you are back")
        await run("account", "resume", bob.email)
        assert "not suspended" in await run("account", "resume", bob.email, fails=True)
        shown = await run("account", "show", bob.email)
        assert "goes on" in shown
        await sign_in_again(stack, bob)
        async with connected((bob, "laptop")) as (his,):
            assert await texts(his, conversation, 1) == ["until you are back"]
    assert re.search(r" suspend +(\w{16})\n.* suspend +\1 ended", await run("audit"))


async def test_a_revoked_device_is_cut_off_for_ever(stack: Stack, tmp_path: Path) -> None:
    """A code of the account's mailbox does not bring it back. Its owner's other device goes on."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await bob.log_in("phone")
    async with connected((alice, "laptop"), (bob, "phone")) as (hers, his):
        conversation = await open_dm(hers, his)
        async with connected((bob, "laptop")) as (lost,):
            identifier = lost.identity.device
            await run("device", "revoke", str(identifier))
            with pytest.raises(varde.DeviceRevoked):
                async for _ in lost.events():
                    pass
        with pytest.raises(varde.DeviceRevoked):
            await sign_in_again(stack, bob)
        await conversation.send("to the other one")
        assert await texts(his, conversation, 1) == ["to the other one"]
    assert re.search(rf" revoke +{target_of(identifier)}", await run("audit"))


async def sign_in_again(stack: Stack, person: Person) -> None:
    """Their laptop, with a code from the mailbox."""
    await varde.request_code(stack.api_url, person.email)
    code, home = stack.code_for(person.email), person.home("laptop")
    await varde.sign_in_again(home, person.key("laptop"), email=person.email, code=code)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("account", "suspend", "nobody@example.org"), "nobody has signed up"),
        (("account", "suspend", "0192f3d0-1111-7000-8000-000000000001"), "no such account"),
        (("account", "show", "some-body"), "e-mail address or its id"),
        (("device", "revoke", "0192f3d0-1111-7000-8000-000000000001"), "no such device"),
    ],
)
async def test_who_is_not_there_is_said(words: tuple[str, ...], said: str) -> None:
    """In words, with exit code 1."""
    assert said in await run(*words, fails=True)
