"""Device lists: what the server makes of a list that is signed rightly, and that nothing else changes a device."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from domain.people.device_lists import Accepted, DeviceLists, expire_devices
from domain.people.events import DevicesChanged, TicketsRevoked
from domain.people.model import Actor, ListChange, RosterChange
from domain.people.ports import ListFault
from domain.people.revocations import Revocations
from domain.people.tickets import TicketIssuer
from simulation.stores.devices import MemoryDevices
from tests.cast import CastDevice, alice, alice_laptop, alice_phone, bob, listed_device, mallory, open_conversation
from tests.cast import salt_of as salt_of_cast
from tests.domain.registry import Registry, code_of
from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    PendingRoot,
    commitment,
    decode_list,
    decode_signed_list,
    encode,
    list_hash,
    sign_list,
    statement_to_sign,
)
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.limits import DEVICES_PER_ACCOUNT
from varde_contract.refusals import RefusalCode, Refused

tablet = alice.further_device("tablet")
WAITED_MS = 5_000
WEEK_MS = 7 * 24 * 3_600_000
JOBB_ONLY = (commitment(alice.jobb.id, salt_of_cast(alice.jobb.id)),)


class Lists:
    """A server that knows the cast, and Alice's own list, which she changes from a session without a device."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.actor = Actor(alice.account, tablet.session.id, None)

    async def newest(self) -> DeviceList:
        """Alice's newest list."""
        stored = await self.registry.stores.devices.newest_list(alice.account)
        assert stored is not None
        return decode_list(decode_signed_list(stored.signed).statement)

    async def next(self, **changes: Any) -> DeviceList:
        """The list that follows it."""
        before = await self.newest()
        fresh = {"number": before.number + 1, "previous": list_hash(before), "issued_ms": self.registry.clock()}
        return replace(before, **fresh | changes)

    async def put(self, fresh: DeviceList, *signers: CastDevice, root: bool = True) -> Accepted | Refused:
        """Sign it and ask for it."""
        return await self.registry.device_lists.put(self.actor, sign(fresh, *signers, root=root))


def sign(fresh: DeviceList, *signers: CastDevice, root: bool = True) -> bytes:
    """The list with the signatures of these devices and of Alice's root key."""
    statement = statement_to_sign(encode(fresh))
    by_device = {device.id: device.signing.sign(statement) for device in signers}
    return encode(sign_list(fresh, by_device, *([alice.root.sign(statement)] if root else [])))


def with_device(devices: tuple[ListedDevice, ...], *more: CastDevice) -> tuple[ListedDevice, ...]:
    """These devices and more, in their order."""
    return tuple(sorted((*devices, *map(listed_device, more)), key=lambda listed: listed.device))


def without(devices: tuple[ListedDevice, ...], device: DeviceId) -> tuple[ListedDevice, ...]:
    """These devices but one."""
    return tuple(listed for listed in devices if listed.device != device)


def changed(devices: tuple[ListedDevice, ...], device: DeviceId, **changes: Any) -> tuple[ListedDevice, ...]:
    """These devices, one of them with changes."""
    return tuple(replace(listed, **changes) if listed.device == device else listed for listed in devices)


@pytest.fixture
async def lists() -> Lists:
    """See `Lists`."""
    registry = Registry()
    await registry.settle(alice, bob, mallory)
    await registry.stores.sessions.add(tablet.session)
    return Lists(registry)


async def test_a_device_is_registered_by_a_list_and_announced(lists: Lists) -> None:
    """It is in the rosters of its profiles at once, which is said, and has no session before it proves its key."""
    conversation = await open_conversation(lists.registry.stores, alice, bob)
    before = await lists.newest()
    accepted = await lists.put(await lists.next(devices=with_device(before.devices, tablet)), tablet)
    assert isinstance(accepted, Accepted)
    assert accepted.made
    expected = replace(tablet.model, created_ms=lists.registry.clock())
    assert await lists.registry.stores.devices.find(alice.account, tablet.id) == expected
    roster = (await lists.registry.stores.conversations.rosters([conversation]))[conversation]
    assert lists.registry.bus.published == [DevicesChanged(conversation, roster.version)]
    assert tablet.id in roster.devices
    assert await lists.registry.sessions.authenticate(tablet.access_token) == lists.actor


async def test_the_same_list_again_answers_the_same(lists: Lists) -> None:
    """A client that lost the answer asks again."""
    fresh = await lists.next(devices=with_device((await lists.newest()).devices, tablet))
    first = await lists.put(fresh, tablet)
    assert isinstance(first, Accepted)
    lists.registry.bus.published.clear()
    assert await lists.put(fresh, tablet) == Accepted(first.stored, made=False)
    assert lists.registry.bus.published == []


async def test_a_list_that_says_nothing_new_changes_nothing(lists: Lists) -> None:
    """Finding 5: the same whitelists twenty times move no roster, void no ticket, and make no list."""
    conversation = await open_conversation(lists.registry.stores, alice, bob)
    newest = await lists.registry.stores.devices.newest_list(alice.account)
    assert newest is not None
    for _ in range(20):
        assert await lists.put(await lists.next()) == Accepted(newest, made=False)
    assert lists.registry.bus.published == []
    assert await lists.registry.stores.devices.revocations(0) == []
    assert (await lists.registry.stores.conversations.rosters([conversation]))[conversation].version == 1


async def test_a_manager_signs_without_the_root_key(lists: Lists) -> None:
    """Revoked for ever: what cuts the connection goes out before what only says what to read again."""
    registry = lists.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    fresh = await lists.next(devices=without((await lists.newest()).devices, alice_phone.id))
    assert isinstance(await lists.put(fresh, alice_laptop, root=False), Accepted)
    roster = (await registry.stores.conversations.rosters([conversation]))[conversation]
    assert registry.bus.published == [
        TicketsRevoked(alice_phone.id, registry.clock(), final=True),
        DevicesChanged(conversation, roster.version),
    ]
    assert alice_phone.id not in roster.devices
    assert code_of(await registry.sessions.authenticate(alice_phone.access_token)) is RefusalCode.UNAUTHENTICATED
    assert await registry.sessions.authenticate(alice_laptop.access_token) == alice_laptop.actor


async def test_a_mailbox_alone_revokes_nothing(lists: Lists) -> None:
    """Finding 18: a session of the account, signed in by whoever reads the mail, signs no list."""
    fresh = await lists.next(devices=())
    statement = statement_to_sign(encode(fresh))
    thief = mallory.devices[0]
    for signed in (
        sign(fresh, root=False),
        sign(fresh, thief, root=False),
        encode(sign_list(fresh, {}, thief.signing.sign(statement))),
        encode(sign_list(fresh, {alice_laptop.id: thief.signing.sign(statement)})),
    ):
        refused = await lists.registry.device_lists.put(lists.actor, signed)
        assert code_of(refused) is RefusalCode.BAD_DEVICE_LIST
    assert {device.id for device in await lists.registry.stores.devices.list_all(alice.account)} == {
        alice_laptop.id,
        alice_phone.id,
    }
    assert lists.registry.bus.published == []


async def test_a_changed_whitelist_voids_that_devices_tickets_only(lists: Lists) -> None:
    """Its connection, which receives for the old profiles, is cut; the rosters of the profile that went move."""
    registry = lists.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    devices = changed((await lists.newest()).devices, alice_phone.id, profiles=JOBB_ONLY)
    assert isinstance(await lists.put(await lists.next(devices=devices)), Accepted)
    roster = (await registry.stores.conversations.rosters([conversation]))[conversation]
    assert registry.bus.published == [
        TicketsRevoked(alice_phone.id, registry.clock(), final=False),
        DevicesChanged(conversation, roster.version),
    ]
    assert alice_phone.id not in roster.devices
    assert [each.device for each in await registry.stores.devices.revocations(0)] == [alice_phone.id]


async def test_a_manager_more_or_less_cuts_nobody(lists: Lists) -> None:
    """It is in the list, and neither in a ticket nor in a roster."""
    await open_conversation(lists.registry.stores, alice, bob)
    devices = changed((await lists.newest()).devices, alice_phone.id, manager=False)
    accepted = await lists.put(await lists.next(devices=devices))
    assert isinstance(accepted, Accepted)
    assert accepted.made
    assert lists.registry.bus.published == []


class HeldUp(MemoryDevices):
    """Devices whose changes wait for somebody else's, while time passes."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry.memory, registry.interference)
        self._clock = registry.clock

    async def apply(self, change: ListChange) -> list[RosterChange] | ListFault:
        """Wait, then change."""
        self._clock.advance(WAITED_MS)
        moves = await super().apply(change)
        return moves if isinstance(moves, ListFault) else list(moves)


async def test_a_ticket_issued_while_the_list_waited_is_void(lists: Lists) -> None:
    """However long the change took, tickets made from the whitelist before it are void, here and on every relay."""
    registry, store = lists.registry, HeldUp(lists.registry)
    held_up = DeviceLists(registry.stores.accounts, store, registry.stores.profiles, registry.bus, clock=registry.clock)
    devices = changed((await lists.newest()).devices, alice_phone.id, profiles=JOBB_ONLY)
    signed = sign(await lists.next(devices=devices))
    issued_ms = registry.clock() + WAITED_MS
    assert isinstance(await held_up.put(lists.actor, signed), Accepted)
    table = Revocations()
    for revocation in await store.revocations(0):
        table.note(revocation)
    assert table.find(alice_phone.id, issued_ms) is not None
    (told,) = registry.bus.published
    assert isinstance(told, TicketsRevoked)
    assert told.not_before_ms >= issued_ms


async def test_a_new_root_key_is_announced_everywhere(lists: Lists) -> None:
    """All managers announce it, seven days before; whoever writes to the account reads its roster again."""
    registry = lists.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    pending = PendingRoot(bob.root_key, registry.clock() + WEEK_MS)
    early = replace(pending, effective_ms=pending.effective_ms - 1)
    refused = await lists.put(await lists.next(pending_root=early), alice_laptop, alice_phone, root=False)
    assert code_of(refused) is RefusalCode.BAD_DEVICE_LIST
    announced = await lists.next(pending_root=pending)
    assert isinstance(await lists.put(announced, alice_laptop, alice_phone, root=False), Accepted)
    roster = (await registry.stores.conversations.rosters([conversation]))[conversation]
    assert registry.bus.published == [DevicesChanged(conversation, roster.version)]


BAD: dict[str, Callable[[DeviceList], DeviceList]] = {
    "a key of small order": lambda fresh: replace(
        fresh, devices=changed(fresh.devices, alice_phone.id, noise_key=bytes(32))
    ),
    "another key of a device": lambda fresh: replace(
        fresh, devices=changed(fresh.devices, alice_phone.id, identity_key=tablet.model.identity_key)
    ),
    "a clock that is a day ahead": lambda fresh: replace(fresh, issued_ms=fresh.issued_ms + 86_400_000),
    "a clock that is a day behind": lambda fresh: replace(fresh, issued_ms=fresh.issued_ms - 86_400_000),
    "another account": lambda fresh: replace(fresh, account=mallory.account),
}


@pytest.mark.parametrize("bend", BAD.values(), ids=BAD)
async def test_refusal_bad_device_list(lists: Lists, bend: Callable[[DeviceList], DeviceList]) -> None:
    """What the contract's rules refuse, the server refuses, and says which rule."""
    fresh = replace(await lists.next(), devices=changed((await lists.next()).devices, alice_phone.id, manager=False))
    refused = await lists.put(bend(fresh))
    assert code_of(refused) is RefusalCode.BAD_DEVICE_LIST


async def test_refusal_bad_device_list_for_garbage(lists: Lists) -> None:
    """No bytes surprise it."""
    for garbage in (b"", b"\x92", encode(await lists.newest()), bytes(20_000)):
        assert code_of(await lists.registry.device_lists.put(lists.actor, garbage)) is RefusalCode.BAD_DEVICE_LIST


async def test_refusal_too_many_devices(lists: Lists) -> None:
    """An account has sixteen devices at most: no other list can be read."""
    spare = [alice.further_device(f"spare{number}") for number in range(DEVICES_PER_ACCOUNT - 1)]
    fresh = await lists.next(devices=with_device((await lists.newest()).devices, *spare))
    assert code_of(await lists.put(fresh, *spare)) is RefusalCode.BAD_DEVICE_LIST


async def test_refusal_stale_device_list(lists: Lists) -> None:
    """Another device was faster: the client looks again."""
    late = await lists.next(devices=with_device((await lists.newest()).devices, tablet))
    faster = await lists.next(devices=without((await lists.newest()).devices, alice_phone.id))
    assert isinstance(await lists.put(faster), Accepted)
    assert code_of(await lists.put(late, tablet)) is RefusalCode.STALE_DEVICE_LIST


async def test_refusal_stale_device_list_when_the_other_comes_in_between(lists: Lists) -> None:
    """The list was judged against the newest; the store has the last word."""
    registry = lists.registry
    late = await lists.next(devices=with_device((await lists.newest()).devices, tablet))
    faster = await lists.next(devices=without((await lists.newest()).devices, alice_phone.id))

    class Interrupted(MemoryDevices):
        """Somebody else's list comes right before this one."""

        async def apply(self, change: ListChange) -> Any:
            """The other one first."""
            await lists.put(faster)
            return await super().apply(change)

    store = Interrupted(registry.memory, registry.interference)
    between = DeviceLists(registry.stores.accounts, store, registry.stores.profiles, registry.bus, clock=registry.clock)
    assert code_of(await between.put(lists.actor, sign(late, tablet))) is RefusalCode.STALE_DEVICE_LIST


async def test_refusal_device_exists(lists: Lists) -> None:
    """An id that was a device's before is not given again, not even to the account that had it."""
    devices = (await lists.newest()).devices
    assert isinstance(await lists.put(await lists.next(devices=without(devices, alice_phone.id))), Accepted)
    again = await lists.next(devices=with_device(without(devices, alice_phone.id), alice_phone))
    assert code_of(await lists.put(again, alice_phone)) is RefusalCode.DEVICE_EXISTS


async def test_refusal_profile_not_allowed(lists: Lists) -> None:
    """A device receives for profiles of its account; a commitment of another's answers as one of nobody's."""
    for other in (commitment(bob.profile, bob.privat.salt), commitment(ProfileId(alice.account), bytes(32))):
        devices = changed((await lists.newest()).devices, alice_phone.id, profiles=(other,))
        assert code_of(await lists.put(await lists.next(devices=devices))) is RefusalCode.PROFILE_NOT_ALLOWED
    assert lists.registry.bus.published == []


async def test_lists_are_shown_to_who_needs_them(lists: Lists) -> None:
    """To the owner, to co-members, and to whoever names a profile; to others the account is not there."""
    registry, stranger = lists.registry, mallory.devices[0].actor
    own = await registry.device_lists.own(lists.actor, 1)
    assert [each.number for each in own] == [1, 2]
    assert await registry.device_lists.of_account(lists.actor, alice.account, 2, None) == own[1:]
    for profile in (None, bob.profile, mallory.profile, ProfileId(alice.account)):
        refused = await registry.device_lists.of_account(stranger, alice.account, 1, profile)
        assert code_of(refused) is RefusalCode.NOT_FOUND
    assert await registry.device_lists.of_account(stranger, alice.account, 1, alice.jobb.id) == own
    await open_conversation(registry.stores, alice, mallory)
    assert await registry.device_lists.of_account(stranger, alice.account, 1, None) == own


async def test_a_device_whose_time_is_over_is_cut(lists: Lists) -> None:
    """Its tickets end with it, and every roster it was in is announced."""
    registry = lists.registry
    conversation = await open_conversation(registry.stores, alice, bob)
    end_ms = registry.clock() + 1_000
    devices = changed((await lists.newest()).devices, alice_phone.id, valid_until_ms=end_ms)
    assert isinstance(await lists.put(await lists.next(devices=devices)), Accepted)
    kept = await registry.stores.devices.find(alice.account, alice_phone.id)
    assert kept is not None
    issuer = TicketIssuer(bytes(range(32)), entropy=registry.entropy)
    assert issuer.issue(kept, read_ms=registry.clock()).expires_ms == end_ms
    registry.bus.published.clear()
    registry.clock.advance(1_000)
    assert not await expire_devices(registry.stores.devices, registry.bus, now_ms=registry.clock())
    assert registry.bus.published == [
        TicketsRevoked(alice_phone.id, end_ms, final=False),
        DevicesChanged(conversation, 2),
    ]
    assert not await expire_devices(registry.stores.devices, registry.bus, now_ms=registry.clock())
