"""Device lists in a client: what it keeps, what it refuses, and what it says of changes."""

import pytest
from msgspec.structs import replace
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, alice_phone, bob_laptop, bob_phone, mallory
from tests.varde.endpoints import NOW, Account, Endpoint, SimulatedConversation, endpoint
from tests.varde.memory_relay import first, open_clients
from varde.changes import root_key_changes
from varde.crypto.device_lists import DeviceLists, Sign, next_list, sign
from varde.crypto.pairwise import load_account
from varde.errors import ListRollback, RootKeyChanged, StoreDamaged, UnprovenList, Unreachable, UntrustedDevice
from varde.events import OwnListChanged, RootKeyChange, Withheld
from varde.store.people import PinnedProfile
from varde_contract import frames as f
from varde_contract.device_list import PendingRoot
from varde_contract.talk import ConversationKind

GROUP, DM = ConversationKind.GROUP, ConversationKind.DM
WEEK_MS = 7 * 24 * 3_600_000


def met(reader: Endpoint, *accounts: Account) -> DeviceLists:
    """The lists of somebody who has seen these accounts."""
    reader.learn(*accounts)
    return reader.keychain.trust.lists


def test_the_whole_history_is_kept() -> None:
    """Old statements and messages are judged by the list of their time; a device that is gone is still found."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    account = phone.account
    account.revoke(phone.id)
    lists = met(reader, account)
    assert [lists.at(account.person.account, number) for number in (1, 2)] == account.lists
    assert lists.newest(account.person.account) == account.lists[1]
    known = reader.store.pins.device(phone.id)
    assert known is not None
    assert (known.account, known.signing_key) == (account.person.account, phone.listed.signing_key)


def test_an_older_list_is_no_list() -> None:
    """Rollback: after number 2 a server that says that 1 is the newest is refused, and so is another 2."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    account = phone.account
    old = account.head
    account.revoke(phone.id)
    lists = met(reader, account)
    with pytest.raises(ListRollback):
        lists.missing_from(old)
    with pytest.raises(ListRollback):
        lists.missing_from(replace(account.head, hash=bytes(32)))
    assert lists.missing_from(account.head) is None
    assert lists.missing_from(replace(account.head, number=3)) == 3


def test_a_fork_is_refused() -> None:
    """Another list of a number that is known, be it signed by the root key itself, is not taken in."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    account, person = phone.account, phone.person
    account.put([replace(phone.listed, manager=False)])
    lists = met(reader, account)
    other = sign(next_list(account.lists[0], person.account, person.root_key, (), NOW), roots=(person.root,))
    with pytest.raises(ListRollback):
        lists.accept(person.account, [other])
    assert lists.newest(person.account) == account.lists[1]


def test_a_list_of_somebody_else_is_refused() -> None:
    """The server cannot show one account's list for another's, nor one that nobody signed."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    lists = met(reader)
    with pytest.raises(UntrustedDevice):
        lists.accept(mallory.account, phone.account.signed)
    signed = phone.account.signed[0]
    with pytest.raises(UntrustedDevice):
        lists.accept(phone.person.account, [signed[:-1] + bytes((signed[-1] ^ 1,))])
    assert lists.newest(phone.person.account) is None


def test_a_root_key_that_nobody_vouches_for_is_loud() -> None:
    """The reason to tell a person, and not only to refuse."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    lists = met(reader, phone.account)
    phone.account.forge(mallory.root)
    with pytest.raises(RootKeyChanged):
        lists.accept(phone.person.account, phone.account.signed)
    assert lists.root_key(phone.person.account) == phone.person.root_key


def test_a_root_key_is_announced_and_replaced_aloud() -> None:
    """Co-members are told when it is announced, and when it is in force; a second phrase at once is told as well."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    account, person = phone.account.person.account, phone.person
    lists = met(reader, phone.account)
    before = lists.newest(account)
    assert before is not None
    pending = PendingRoot(mallory.root_key, NOW + WEEK_MS + 1)
    announced = replace(next_list(before, account, person.root_key, before.devices, NOW), pending_root=pending)
    olm_sign = phone_sign(phone)
    taken = next_list(announced, account, mallory.root_key, announced.devices, pending.effective_ms)
    signed = [sign(announced, signers={phone.id: olm_sign}), sign(taken, roots=(mallory.root,))]
    with reader.store.transaction():
        learned = lists.accept(account, signed)
    said = root_key_changes(account, learned)
    assert [(each.account, each.effective is None) for each in said] == [(account, False), (account, True)]
    assert all(isinstance(each, RootKeyChange) for each in said)


def phone_sign(device: Endpoint) -> Sign:
    """The signing half of a device."""
    return load_account(device.store).sign


def test_the_same_id_with_other_keys_is_refused() -> None:
    """A device that was taken off the list does not come back under its id as something else."""
    reader, phone, stranger = endpoint(alice_laptop), endpoint(bob_phone), endpoint(alice_phone)
    account = phone.account
    account.revoke(phone.id)
    lists = met(reader, account)
    before = account.lists[-1]
    imposter = replace(stranger.listed, device=phone.id, profiles=phone.listed.profiles)
    fresh = next_list(before, before.account, before.root_key, [imposter], NOW)
    forged = sign(fresh, roots=(phone.person.root,), signers={phone.id: phone_sign(stranger)})
    with pytest.raises(UntrustedDevice), reader.store.transaction():
        lists.accept(before.account, [forged])


@pytest.mark.parametrize("table", ["pinned_list", "pinned_profile", "pin_count", "device_list"])
def test_a_pin_that_was_deleted_is_damage(table: str) -> None:
    """Finding 14: without a row, what the server shows next is not believed as the first: the store is damaged."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    talk = SimulatedConversation(GROUP, reader, phone)
    talk.verify_everywhere()
    with reader.store.transaction():
        reader.store._database.run(f"DELETE FROM {table}")  # noqa: S608 - four words of ours
    account = phone.person.account
    if table == "pinned_profile":
        with pytest.raises(StoreDamaged):
            reader.store.pins.profile(phone.person.profile)
        with pytest.raises(StoreDamaged), reader.store.transaction():
            reader.store.pins.pin_profile(phone.person.profile, PinnedProfile(account, bytes(32)))
    elif table == "pin_count":
        with pytest.raises(StoreDamaged):
            reader.store.pins.newest(mallory.account)
    else:
        with pytest.raises(StoreDamaged):
            reader.keychain.trust.lists.newest(account)


def test_an_old_pin_that_was_put_back_is_damage() -> None:
    """The row of number 1 in the place of that of number 2: the lists that are there say which is the newest."""
    reader, phone = endpoint(alice_laptop), endpoint(bob_phone)
    lists = met(reader, phone.account)
    database, account = reader.store._database, phone.person.account
    (old,) = database.row("SELECT sealed FROM pinned_list WHERE account = ?", account.bytes) or (b"",)
    phone.account.revoke(phone.id)
    met(reader, phone.account)
    with reader.store.transaction():
        database.run("UPDATE pinned_list SET sealed = ? WHERE account = ?", old, account.bytes)
    with pytest.raises(StoreDamaged):
        lists.newest(account)


async def test_a_change_of_ones_own_list_is_told(autojump_clock: MockClock) -> None:
    """At the next connect, with who came and went: a thief with the phrase does not add a device in silence."""
    alices, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alices, bobs) as room:
        await wait_all_tasks_blocked()
        thief = endpoint(alice_phone)
        room.relay.cut(alices.id)
        told = await first(room.clients[alices].events(), OwnListChanged)
        assert told == OwnListChanged(2, (thief.id,), (), listed=True)


async def test_an_own_list_that_was_rolled_back_ends_the_client(autojump_clock: MockClock) -> None:
    """Whoever hides one's own newest list may show a revoked device to others."""
    alices, bobs, spare = endpoint(alice_laptop), endpoint(bob_phone), endpoint(alice_phone)
    async with open_clients(DM, alices, bobs) as room:
        alices.account.revoke(spare.id)
        room.relay.cut(alices.id)
        events = room.clients[alices].events()
        await first(events, OwnListChanged)
        room.relay.lists = lambda account: account.signed[:2]
        room.relay.cut(alices.id)
        with pytest.raises(ListRollback):
            await first(events, Withheld)


async def test_what_the_server_withholds_is_told(autojump_clock: MockClock) -> None:
    """A message goes to who is served; that somebody proven is left out is said."""
    alices, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(GROUP, alices, bobs) as room:
        events = room.clients[bobs].events()
        spare = endpoint(alice_phone)
        room.talk.version += 1
        room.relay.change(room.talk)
        assert (await first(events, Withheld)).devices == (spare.id,)
        assert (await room[bobs].send("til de andre")).seq > 0


async def test_nothing_is_encrypted_by_a_list_that_is_not_in_the_log(autojump_clock: MockClock) -> None:
    """A list that was shown more than a minute ago and is in no log was shown to this client alone."""
    alices, bobs = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(DM, alices, bobs) as room:
        room.relay.publish_lists = lambda: None  # type: ignore[method-assign]
        room.relay.transparency.entries.clear()
        sender = room.clients[alices]._services.rosters
        view = await sender.refresh(room.talk.conversation)
        clock = [NOW]
        sender._log._now_ms = lambda: clock[0]
        room.relay.transparency.clock_ms = NOW
        assert await sender.prove(view) == view
        room.relay.transparency.fault = Unreachable("away")
        assert await sender.prove(view) == view
        clock[0] = NOW + 61_000
        with pytest.raises(Unreachable):
            await sender.prove(view)
        room.relay.transparency.fault = None
        clock[0] = room.relay.transparency.clock_ms = NOW + 61_000
        with pytest.raises(UnprovenList):
            await sender.prove(view)


async def test_a_list_that_came_another_way_makes_a_roster_old(autojump_clock: MockClock) -> None:
    """A device is gone, as another conversation has shown: what is sent here is not encrypted for it once more."""
    alice, bob, lost = endpoint(alice_laptop), endpoint(bob_phone), endpoint(bob_laptop)
    async with open_clients(GROUP, alice, bob, lost, offline=(lost,)) as room:
        await room[alice].send("one")
        room.talk.remove(lost)
        alice.learn(bob.account)
        before = len(room.relay.frames_of(f.Send))
        await room[alice].send("two")
        sends = room.relay.frames_of(f.Send)[before:]
        assert {getattr(each, "roster_version", None) for each in sends} == {room.talk.version}
