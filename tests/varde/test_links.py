"""A server that lies to who uses a link: what the link pins is all that is taken in, and nothing of a lie stays."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace
from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone, mallory_phone
from tests.varde.endpoints import NOW, Endpoint, endpoint
from tests.varde.memory_relay import ORIGIN, MemoryRelay, open_clients
from varde.client import Client
from varde.crypto.device_lists import next_list, sign
from varde.crypto.pairwise import load_account
from varde.errors import ListRollback, NotFound, UntrustedDevice
from varde.store.people import NamedAccount
from varde_contract.links import SECRET_BYTES, PersonLink, root_key_hash
from varde_contract.rest.people import DeviceLists, DeviceListView
from varde_contract.talk import ConversationKind


class Scene:
    """Carol has a link to Bob, of whom she has never heard, and a server that answers as a test says."""

    def __init__(self, relay: MemoryRelay, client: Client, bob: Endpoint, carol: Endpoint, ghost: Endpoint) -> None:
        self.relay, self.client, self.bob, self.carol, self.ghost = relay, client, bob, carol, ghost
        self.rest: Any = client._services.rest
        person = bob.person
        self.link = PersonLink(
            ORIGIN, person.profile, person.account, root_key_hash(person.root_key), os.urandom(SECRET_BYTES)
        )
        self.used: list[object] = []
        setattr(self.rest, "use_link", self._use)  # noqa: B010 - the server's answer

    async def _use(self, use: object) -> None:
        self.used.append(use)

    async def learn(self) -> None:
        """What using the link begins with."""
        link = self.link
        await self.client._services.rosters.learn_profile(link.profile, NamedAccount(link.account, link.root_hash))

    def show_lists(self, *lists: bytes) -> None:
        """Answer with these lists, whoever's they are said to be."""
        views = DeviceLists(tuple(DeviceListView(number, signed) for number, signed in enumerate(lists, start=1)))

        async def answer(*_: object) -> DeviceLists:
            return views

        self.rest.device_lists = answer

    @property
    def knows_bob(self) -> bool:
        """Whether anything of Bob is pinned."""
        pins = self.carol.store.pins
        return pins.newest(self.bob.person.account) is not None or pins.profile(self.bob.person.profile) is not None


@pytest.fixture
async def scene(autojump_clock: MockClock) -> AsyncIterator[Scene]:
    """The server knows Bob, and a ghost of its own."""
    async with _scene() as made:
        yield made


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    alice, carol = endpoint(alice_laptop), endpoint(carol_phone)
    bob, ghost = endpoint(bob_phone), endpoint(mallory_phone)
    async with open_clients(ConversationKind.DM, alice, carol) as room:
        room.relay.strangers = [bob, ghost]
        yield Scene(room.relay, room.clients[carol], bob, carol, ghost)


def forged(scene: Scene, root: Ed25519PrivateKey) -> bytes:
    """A first list of Bob's account under a root key of the server's, with the ghost's device."""
    made = next_list(None, scene.bob.person.account, root.public_key().public_bytes_raw(), [scene.ghost.listed], NOW)
    return sign(made, roots=[root], signers={scene.ghost.id: load_account(scene.ghost.store).sign})


async def test_what_the_link_pins_is_taken_in(scene: Scene) -> None:
    """The account, its device lists and the salt; and again, when all of it is known."""
    for _ in range(2):
        await scene.learn()
        assert scene.knows_bob
    assert scene.client.safety_number(scene.bob.person.account)


async def test_another_root_key_is_believed_in_nothing(scene: Scene) -> None:
    """A list that keeps every rule, under a root key of the server's: refused, forgotten, and no hindrance later."""
    honest = scene.rest.device_lists
    scene.show_lists(forged(scene, Ed25519PrivateKey.generate()))
    with pytest.raises(UntrustedDevice, match="another root key"):
        await scene.learn()
    assert not scene.knows_bob
    with pytest.raises(NotFound):
        scene.client.safety_number(scene.bob.person.account)
    scene.rest.device_lists = honest
    await scene.learn()
    assert scene.knows_bob


@pytest.mark.parametrize("what", ["account", "profile"])
async def test_another_account_is_believed_in_nothing(scene: Scene, what: str) -> None:
    """The profile is said to be the ghost's, or another profile is shown."""
    honest, ghost = scene.rest.opening, scene.ghost.person

    async def bent(profile: object) -> object:
        opening = await honest(profile)
        return replace(opening, **({"account": ghost.account} if what == "account" else {"profile": ghost.profile}))

    scene.rest.opening = bent
    with pytest.raises(UntrustedDevice, match=f"another {what}"):
        await scene.learn()
    assert not scene.knows_bob


@pytest.mark.parametrize("lists", [0, 1])
async def test_lists_that_are_kept_back_are_missed(scene: Scene, lists: int) -> None:
    """None at all, or one less than there are said to be: nothing of what came stays."""
    scene.bob.account.put(scene.bob.account.devices)
    scene.show_lists(*scene.bob.account.signed[:lists])
    with pytest.raises(ListRollback):
        await scene.learn()
    assert not scene.knows_bob


async def test_a_root_key_that_was_replaced_vouches_for_the_next_one(scene: Scene) -> None:
    """A link that names either is good: whoever had the first signed the second."""
    person, fresh = scene.bob.person, Ed25519PrivateKey.generate()
    before = scene.bob.account.lists[-1]
    after = next_list(before, person.account, fresh.public_key().public_bytes_raw(), before.devices, NOW)
    scene.bob.account.lists.append(after)
    scene.bob.account.signed.append(sign(after, roots=[person.root, fresh]))
    await scene.learn()
    scene.link = replace(scene.link, root_hash=root_key_hash(fresh.public_key().public_bytes_raw()))
    await scene.learn()
    scene.link = replace(scene.link, root_hash=bytes(32))
    with pytest.raises(UntrustedDevice):
        await scene.learn()


async def test_nobody_is_asked_by_a_link_that_the_server_contradicts(scene: Scene) -> None:
    """The whole way of `use_link`: no conversation is opened, and nothing is encrypted."""
    scene.show_lists(forged(scene, Ed25519PrivateKey.generate()))
    talks = len(scene.relay.talks)
    with pytest.raises(UntrustedDevice):
        await scene.client.use_link(scene.link)
    assert len(scene.used) == 1
    assert len(scene.relay.talks) == talks
    assert scene.relay.claims == []
