"""Links over the real system: people and groups come together by them alone, and not once more than they say."""

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import trio
from msgspec.structs import replace
from trio.testing import memory_stream_pair

import varde
from tests.cli.rpc.test_rpc import Program
from tests.end_to_end.stack import SECONDS, Person, Stack, connected, open_group, people, texts
from tests.end_to_end.test_consent import address, listening
from varde.events import LinkUsed
from varde.first_words import link_proof
from varde_cli.entry import varde as root
from varde_cli.rpc import server
from varde_contract.links import PersonLink, root_key_hash
from varde_contract.rest.talk import ChainHead, Requests

pytestmark = pytest.mark.xdist_group("end-to-end")


async def test_who_has_the_link_comes_in(stack: Stack, tmp_path: Path) -> None:
    """A link for one: the second is refused. One whose head is another is for another group, and nothing is sent."""
    alice, bob, carol, dave = await people(stack, tmp_path, "alice", "bob", "carol", "dave")
    soon = datetime.now(UTC) + timedelta(hours=1)
    laptops = [(person, "laptop") for person in (alice, bob, carol, dave)]
    async with connected(*laptops) as (hers, his, carols, daves):
        group = await open_group(hers, his)
        link = await group.make_link(soon)
        joined = await carols.use_link(link)
        await joined.send("hei fra lenken")
        assert await texts(his, group, 1) == ["hei fra lenken"]
        await group.send("velkommen")
        assert await texts(carols, group, 1) == ["velkommen"]
        with pytest.raises(varde.NotFound):
            await daves.use_link(link)
        gone = await group.make_link(soon, uses=2)
        await group.revoke_link(gone.key)
        with pytest.raises(varde.NotFound):
            await daves.use_link(gone)
        other = await group.make_link(soon, uses=2)
        with pytest.raises(varde.UntrustedDevice):
            await daves.use_link(replace(other, head=ChainHead(other.head.number, bytes(32))))
        with pytest.raises(varde.UntrustedDevice):
            await daves.conversation(group.id).send("til hvem?")


async def test_three_people_come_together_by_links_only(stack: Stack, tmp_path: Path) -> None:
    """Nobody types an id and nobody is believed: a link to a person, found by nobody, and one into a group of three.

    The person's client accepts by itself, for so many as the link says, and tells it.
    """
    alice, bob, carol, mallory = await people(stack, tmp_path, "alice", "bob", "carol", "mallory")
    soon = datetime.now(UTC) + timedelta(hours=1)
    async with connected(*((each, "laptop") for each in (alice, bob, carol, mallory))) as (hers, his, carols, mallorys):
        await hers.set_found_by("nobody")
        link = await hers.make_link(soon)
        async with listening(hers) as (by_alice,):
            dm = await his.use_link(link.url)
            await dm.wait_accepted()
            await by_alice.wait_for(lambda event: event == LinkUsed(dm.id, address(his), his.identity.account))
        await dm.send("hei, fra lenken")
        assert await texts(hers, dm, 1) == ["hei, fra lenken"]
        assert hers.safety_number(his.identity.account) == his.safety_number(hers.identity.account)
        assert (await his.use_link(link)).id == dm.id  # again changes nothing
        with pytest.raises(varde.NotFound):
            await mallorys.use_link(link.url)
        group = await hers.open_group([])
        into = await group.make_link(soon, uses=2)
        assert [(each.conversation, each.uses, each.url) for each in await hers.links()] == [(group.id, 2, into.url)]
        for client in (his, carols):
            await (await client.use_link(into.url)).send("her er jeg")
        assert await texts(hers, group, 2) == ["her er jeg"] * 2
        assert await hers.links() == []
        with pytest.raises(varde.NotFound):
            await mallorys.use_link(into.url)


async def test_who_made_a_link_may_be_off_when_it_is_used(stack: Stack, tmp_path: Path) -> None:
    """The request waits, and is accepted when that device comes back. A device that has no secret accepts nobody."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    await alice.log_in("phone")
    async with connected((alice, "laptop")) as (hers,):
        link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1))
    async with connected((bob, "laptop"), (alice, "phone")) as (his, phone):
        asked = await his.use_link(link.url)
        assert asked.waiting
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked.send, "er du der?")
            (request,) = await phone.requests()
            assert (request.conversation, request.by_link) == (asked.id, False)
            async with connected((alice, "laptop")):
                await asked.wait_accepted()
            assert await texts(phone, asked, 1) == ["er du der?"]


async def test_a_link_that_is_revoked_or_of_elsewhere_leads_nowhere(stack: Stack, tmp_path: Path) -> None:
    """By its code, which is short; and a link is for the server that it names."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1), uses=9)
        (listed,) = await hers.links()
        assert (listed.uses, listed.url, listed.profile) == (9, link.url, address(hers))
        assert (await hers.revoke_link(listed.code)).code == listed.code
        with pytest.raises(varde.NotFound, match="not good any more"):
            await his.use_link(link.url)
        with pytest.raises(varde.NotFound):
            await hers.revoke_link(listed.code)
        elsewhere = replace(link, origin="https://chat.example.org")
        with pytest.raises(varde.VardeError, match=r"leads to https://chat\.example\.org") as refused:
            await his.use_link(elsewhere.url)
        assert refused.value.code == "other-server"
        with pytest.raises(varde.VardeError, match="yourself"):
            await hers.use_link(await hers.make_link(datetime.now(UTC) + timedelta(hours=1)))


@pytest.mark.parametrize("what", ["root key", "account", "secret"])
async def test_a_link_and_a_server_that_do_not_agree(stack: Stack, tmp_path: Path, what: str) -> None:
    """What the link pins is not what the server shows: nothing is asked, nothing is believed later, nothing is sent."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as (hers, his, carols):
        link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1), uses=9)
        match what:
            case "root key":
                with pytest.raises(varde.UntrustedDevice, match="another root key"):
                    await his.use_link(replace(link, root_hash=bytes(32)))
            case "account":
                other = replace(link, account=carols.identity.account, profile=address(carols))
                with pytest.raises(varde.NotFound):
                    await his.use_link(other)
            case "secret":
                with pytest.raises(varde.NotFound):
                    await his.use_link(replace(link, secret=bytes(32)))
        with pytest.raises(varde.NotFound):
            his.safety_number(hers.identity.account)
        assert await hers.requests() == ()
        assert await carols.requests() == ()


async def test_a_server_that_lets_more_people_ask_lets_nobody_in(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proofs without the secret, for another root key, replayed, beyond the count: all wait for a person to answer."""
    alice, bob, mallory = await people(stack, tmp_path, "alice", "bob", "mallory")
    async with connected((alice, "laptop"), (bob, "laptop"), (mallory, "laptop")) as (hers, his, mallorys):
        link, events = await hers.make_link(datetime.now(UTC) + timedelta(hours=1)), hers.events()
        dm = await his.use_link(link)
        while not isinstance(await anext(events), LinkUsed):
            pass  # he may hear of her acceptance before she does
        await dm.wait_accepted()
        # He comes once. Left, he asks again with the very proof of before, and waits like anybody else.
        await hers.conversation(dm.id).leave()
        again = await _ask_by(his, link, hers)
        # She has the link, which is used up, and a server that lets her ask all the same.
        beyond = await _ask_by(mallorys, link, hers)
        found = {each.conversation: each for each in await hers.requests()}
        assert {again.id, beyond.id} == set(found)
        assert all(each.by_link for each in found.values())
        await hers.conversation(beyond.id).decline()
        # Without the secret it is not even that.
        forged = await _ask_by(mallorys, replace(link, secret=bytes(32)), hers)
        assert [each.by_link for each in await hers.requests() if each.conversation == forged.id] == [False]
        await hers.conversation(forged.id).decline()
        # Nor with it, where the server would show her another root key than the one that the proof is of.
        rosters = mallorys._services.rosters.lists
        monkeypatch.setattr(rosters, "known_root_key", lambda _: bytes(32))
        other = await _ask_by(mallorys, link, hers)
        assert [each.by_link for each in await hers.requests() if each.conversation == other.id] == [False]
        assert again.waiting
        assert other.waiting


async def test_first_words_of_others_let_nobody_in(stack: Stack, tmp_path: Path) -> None:
    """A server that shows the words of who has the link in the request of somebody who has not: they open nothing."""
    alice, bob, mallory = await people(stack, tmp_path, "alice", "bob", "mallory")
    async with connected((bob, "laptop"), (mallory, "laptop")) as (his, mallorys):
        async with connected((alice, "laptop")) as (hers,):
            link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1), uses=9)
        asked, strange = await his.use_link(link), await mallorys.open_dm(link.profile)
        async with connected((alice, "laptop")) as (hers,):
            honest, hers_rest = hers._services.rest.requests, hers._services.rest

            async def bent() -> Requests:
                shown = {each.conversation: each for each in (await honest()).invitations}
                said = shown[asked.id].words
                assert said is not None
                words = replace(said, profile=address(mallorys), device=mallorys.identity.device)
                return Requests((replace(shown[strange.id], words=words),))

            hers_rest.requests = bent  # type: ignore[method-assign] # the server's answer
            (request,) = await hers.requests()
            assert (request.conversation, request.by_link, request.text) == (strange.id, False, None)
            assert strange.waiting


async def test_a_link_to_a_person_takes_them_into_no_group(stack: Stack, tmp_path: Path) -> None:
    """Whoever has it may write to them. A group of their own making, with that very proof, waits for an answer."""
    alice, mallory = await people(stack, tmp_path, "alice", "mallory")
    async with connected((alice, "laptop"), (mallory, "laptop")) as (hers, mallorys):
        link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1), uses=9)
        group = await mallorys.open_group([address(hers)])
        services, me = mallorys._services, mallorys.identity
        proof = link.proof(
            me.account, address(mallorys), root_key_hash(services.rosters.lists.known_root_key(me.account))
        )
        with services.store.transaction():
            services.store.settings.put(link_proof(group.id), proof)
        assert await services.first_contact.introduce(group.id, address(mallorys), lambda: True)
        (request,) = await hers.requests()
        assert (request.conversation, request.kind, request.by_link) == (group.id, "group", True)
        assert group.invited == (address(hers),)


async def _ask_by(client: varde.Client, link: PersonLink, inviter: varde.Client) -> varde.Conversation:
    """Ask with the proof of a link, by a server that does not look whether it may be used; return when it is read."""

    async def used(_: object) -> None:
        return None

    client._services.rest.use_link = used  # type: ignore[assignment,method-assign]
    conversation = await client.use_link(link)
    said: set[varde.ConversationId] = set()
    while conversation.id not in said:
        await trio.sleep(0.05)  # whose words this client has read is told to nobody
        said = {each.conversation for each in await inviter.requests() if each.text is not None}
    return conversation


async def test_user_names_lead_to_people(stack: Stack, tmp_path: Path) -> None:
    """Set, found whole, given up; and what is none is told before the server is asked."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    name = f"bob.{tmp_path.name.replace('_', '')}"[:32].rstrip("._")
    async with connected((alice, "laptop"), (bob, "laptop")) as (hers, his):
        await his.set_user_name(name.upper())
        assert await hers.find_user_name(name) == address(his)
        with pytest.raises(varde.Refusal, match="looks like it"):
            await hers.set_user_name(name.replace(".", "_"))
        await his.remove_user_name()
        with pytest.raises(varde.NotFound):
            await hers.find_user_name(name)
        with pytest.raises(varde.VardeError, match="3 to 32"):
            await hers.find_user_name("x")


async def test_scripts_meet_by_links(stack: Stack, tmp_path: Path) -> None:
    """Over JSON-RPC: made, listed, used, revoked; a user name found; a contact passed on and kept."""
    alice, bob, carol = await people(stack, tmp_path, "alice", "bob", "carol")
    async with (
        connected((alice, "laptop"), (bob, "laptop"), (carol, "laptop")) as clients,
        trio.open_nursery() as nursery,
    ):
        programs = []
        for client in clients:
            near, far = memory_stream_pair()
            nursery.start_soon(server.Connection(client, root, far, far).serve)
            programs.append(Program(near))
        hers, his, carols = programs
        made = await hers.result("invite.create", uses=2, expires=3_600)
        for program, client in ((his, clients[1]), (carols, clients[2])):
            joined = await program.result("invite.use", link=made["url"])
            await client.conversation(varde.ConversationId(UUID(joined["conversation"]))).wait_accepted()
        assert await hers.result("invite.list") == []
        again = await hers.result("invite.create")
        (listed,) = await hers.result("invite.list")
        assert (listed["url"], listed["uses"]) == (again["url"], 1)
        assert (await hers.result("invite.revoke", code=listed["code"]))["code"] == listed["code"]
        assert "error" in await his.ask("invite.use", {"link": again["url"]})
        assert "error" in await his.ask("invite.use", {"link": "hello"})
        assert "error" in await his.ask("invite.create", {"uses": 0})
        name = f"c.{os.urandom(6).hex()}"
        await carols.result("username.set", name=name)
        assert await his.result("username.find", name=name) == {"profile": str(address(clients[2]))}
        await carols.result("username.remove")
        await hers.result("contacts.add", name="carol", who=str(address(clients[2])))
        sent = await hers.result("contacts.share", to=str(address(clients[1])), who="carol")
        cards = await his.result("contacts.cards")
        while not cards:
            await trio.sleep(0.05)  # it comes as an event, to who subscribed
            cards = await his.result("contacts.cards")
        await his.result("contacts.accept", conversation=cards[0]["conversation"], seq=sent["seq"], name="Carol")
        assert await his.result("contacts") == {"Carol": str(address(clients[2]))}
        assert "error" in await his.ask("contacts.accept", {"conversation": cards[0]["conversation"], "seq": 1})
        nursery.cancel_scope.cancel()


async def test_the_secret_of_a_link_reaches_no_server(stack: Stack, tmp_path: Path) -> None:
    """Nothing of it is in any request, of who makes it or of who uses it, nor in the database."""
    alice, bob = await people(stack, tmp_path, "alice", "bob")
    sent: list[bytes] = []
    async with _recorded(alice, sent) as hers, _recorded(bob, sent) as his:
        link = await hers.make_link(datetime.now(UTC) + timedelta(hours=1))
        dm = await his.use_link(link.url)
        await dm.wait_accepted()
        fragment = link.url.partition("#")[2]
    assert len(sent) > 10
    everything = b"\n".join(sent)
    assert base64.b64encode(link.token) in everything
    for secret in (link.secret, fragment.encode(), base64.b64encode(link.secret), link.secret.hex().encode()):
        assert secret not in everything
    # Nor a part of it, at any place of base64.
    assert not any(fragment[start : start + 12].encode() in everything for start in range(90, 120))


@asynccontextmanager
async def _recorded(person: Person, sent: list[bytes]) -> AsyncIterator[varde.Client]:
    """A client of somebody, and everything that its calls send."""

    class Recorder(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent.append(str(request.url).encode() + b" " + repr(request.headers.raw).encode() + request.content)
            return await super().handle_async_request(request)

    with trio.fail_after(SECONDS):
        async with varde.connect(person.home("laptop"), person.key("laptop"), transport=Recorder()) as client:
            await client.wait_connected()
            yield client
