"""First contact is a request, over the real relay and API: what strangers get before it is accepted is nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import varde
from tests.end_to_end.stack import Stack, connected, open_dm, people, texts
from varde.events import Event, Message, Presence, Receipt, RequestsChanged, Typing
from varde_contract.ids import ProfileId
from varde_contract.limits import REQUESTS_OF_STRANGERS, REQUESTS_PER_ACCOUNT
from varde_contract.refusals import RefusalCode

pytestmark = pytest.mark.xdist_group("end-to-end")


def address(client: varde.Client) -> ProfileId:
    """Whom others write to."""
    return client.identity.profiles[0].id


class Heard:
    """Everything that a client was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = trio.Event()

    async def listen(self, client: varde.Client) -> None:
        """Keep what comes."""
        async for event in client.events():
            self.events.append(event)
            self._more.set()
            self._more = trio.Event()

    async def wait_for(self, wanted: Callable[[Event], bool]) -> None:
        """Return when such an event was heard."""
        while not any(wanted(event) for event in self.events):
            await self._more.wait()

    def of(self, *kinds: type[Event]) -> list[Event]:
        """What was heard of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]


@asynccontextmanager
async def listening(*clients: varde.Client) -> AsyncIterator[list[Heard]]:
    """What these clients hear meanwhile."""
    heard = [Heard() for _ in clients]
    async with trio.open_nursery() as nursery:
        for each, client in zip(heard, clients, strict=True):
            nursery.start_soon(each.listen, client)
        yield heard
        nursery.cancel_scope.cancel()


async def test_strangers_deafen_nobody(stack: Stack, tmp_path: Path) -> None:
    """Five accounts ask for as much as they can; a friend's new dm is joined and its message delivered all the same."""
    alice, bob, *strangers = await people(stack, tmp_path, "alice", "bob", *(f"stranger{n}" for n in range(5)))
    async with connected((bob, "laptop")) as (his,):
        victim = address(his)
        for stranger in strangers:
            async with connected((stranger, "laptop")) as (theirs,):
                for _ in range(REQUESTS_PER_ACCOUNT):
                    await theirs.open_group([victim])
                with pytest.raises(varde.Refusal) as refusal:
                    await theirs.open_group([victim])
                assert refusal.value.refusal is RefusalCode.TOO_MANY
        shown = await his.requests()
        assert len(shown) == REQUESTS_OF_STRANGERS
        assert len({each.account for each in shown}) == len(strangers)
        async with connected((alice, "laptop")) as (hers,):
            conversation = await hers.open_dm(victim)
            assert conversation.id in {each.conversation for each in await his.requests()}
            await his.conversation(conversation.id).accept()
            await conversation.send("hei bob")
            assert await texts(his, conversation, 1) == ["hei bob"]


async def test_a_stranger_learns_nothing_and_tells_nothing(stack: Stack, tmp_path: Path) -> None:
    """With a profile's id alone: no presence, typing or receipt, in either direction, and no message."""
    alice, bob, mallory = await people(stack, tmp_path, "alice", "bob", "mallory")
    async with connected((alice, "laptop"), (bob, "laptop"), (mallory, "laptop")) as (hers, his, stranger):
        friends = await open_dm(hers, his)
        async with listening(hers, his, stranger) as (by_alice, by_bob, by_mallory), trio.open_nursery() as nursery:
            asked = await stranger.open_dm(address(his))
            await by_bob.wait_for(lambda event: isinstance(event, RequestsChanged))
            (request,) = await his.requests()
            assert (request.conversation, request.account) == (asked.id, stranger.identity.account)
            assert request.text is None
            nursery.start_soon(asked.send, "psst")
            stranger.presence("active")
            asked.typing(True)
            his.presence("active")
            await by_alice.wait_for(lambda event: isinstance(event, Presence))
            hers.presence("active")  # after the stranger's: what comes first is told first
            await by_bob.wait_for(lambda event: isinstance(event, Presence) and event.profile == address(hers))
            await friends.send("hei")
            await by_bob.wait_for(lambda event: isinstance(event, Message))
            await by_alice.wait_for(lambda event: isinstance(event, Receipt))
            assert {event.profile for event in by_bob.events if isinstance(event, Presence)} == {address(hers)}
            assert by_bob.of(Typing) == []
            assert [event.text for event in by_bob.events if isinstance(event, Message)] == ["hei"]
            assert by_mallory.of(Presence, Typing, Receipt) == []
            assert [each.text for each in asked.outgoing()] == ["psst"]
            await his.conversation(asked.id).accept()
            await by_bob.wait_for(lambda event: isinstance(event, Message) and event.text == "psst")
            await by_mallory.wait_for(lambda event: isinstance(event, Receipt))


async def test_a_dm_is_declined_left_and_blocked(stack: Stack, tmp_path: Path) -> None:
    """Declined and left, the next one is a request again; blocked, it is answered like any other and nobody sees it."""
    bob, mallory = await people(stack, tmp_path, "bob", "mallory")
    async with connected((bob, "laptop"), (mallory, "laptop")) as (his, stranger):
        first = await stranger.open_dm(address(his))
        await his.conversation(first.id).decline()
        with pytest.raises(varde.NotAccepted):
            await first.send("hei?")
        second = await open_dm(stranger, his)
        await second.send("hei!")
        await his.conversation(second.id).leave()
        third = await open_dm(stranger, his)
        assert len({first.id, second.id, third.id}) == 3
        async with listening(his) as (by_bob,):
            await his.block(stranger.identity.account)
            assert await his.blocked() == (stranger.identity.account,)
            by_bob.events.clear()
            fourth = await stranger.open_dm(address(his))
            assert fourth.id != third.id
            assert fourth.invited == (address(his),)
            assert await his.requests() == ()
            await his.unblock(stranger.identity.account)
            assert [each.conversation for each in await his.requests()] == [fourth.id]
            assert by_bob.of(RequestsChanged) == []


async def test_who_is_found_by_nobody_is_asked_by_nobody(stack: Stack, tmp_path: Path) -> None:
    """Nobody asks them, who still may ask others, and is verified by them."""
    bob, mallory = await people(stack, tmp_path, "bob", "mallory")
    async with connected((bob, "laptop"), (mallory, "laptop")) as (his, other):
        await his.set_found_by("nobody")
        assert await his.found_by() == "nobody"
        with pytest.raises(varde.NotFound):
            await other.open_dm(address(his))
        conversation = await open_dm(his, other)
        await conversation.send("hei")
        assert await texts(other, conversation, 1) == ["hei"]
        assert (await other.open_dm(address(his))).id == conversation.id


async def test_the_first_words_come_with_the_request(stack: Stack, tmp_path: Path) -> None:
    """What is said before the acceptance begins in the request, and comes as messages after it, each once."""
    bob, mallory = await people(stack, tmp_path, "bob", "mallory")
    await bob.log_in("phone")
    async with connected((bob, "laptop"), (bob, "phone"), (mallory, "laptop")) as (his, phone, other):
        asked = await other.open_dm(address(his))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked.send, "hei, it is me " + "x" * 3_000)
            for client in (his, phone, his):
                (request,) = await client.requests()
                while request.text is None:
                    await trio.sleep(0.05)  # nobody is told when the first words are there
                    (request,) = await client.requests()
                assert request.text.startswith("hei, it is me x")
                assert len(request.text) == 2_000
            nursery.start_soon(asked.send, "and me again")
            await phone.conversation(asked.id).accept()
            for client in (his, phone):
                assert [len(text) for text in await texts(client, asked, 2)] == [3_014, 12]
                assert client.conversation(asked.id).losses() == []
        await his.conversation(asked.id).send("hei")
        assert await texts(other, asked, 1) == ["hei"]
        assert await his.requests() == ()
