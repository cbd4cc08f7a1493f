"""Lies about people: devices, profiles, members and device lists that are not what their owners signed, and the log."""

from typing import NamedTuple, TypeVar

import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.cast import bob as bob_person
from tests.cast import bob_laptop
from tests.contract.transparency.logs import KEYS, WITNESS
from tests.doubles.dishonest_server import DishonestServer
from tests.varde.endpoints import NOW, Endpoint, endpoint
from tests.varde.fake_log import listed
from tests.varde.memory_relay import refused
from tests.varde.test_transparency import wrong_proof
from varde.crypto.device_lists import next_list, sign
from varde.list_lookups import DAY_MS, ROUND_SECONDS
from varde.named_lists import LAG_MS
from varde.tasks import LISTS_PAUSE_SECONDS
from varde.transparency import STALE_SECONDS
from varde_contract import frames as f
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.device_list import DeviceList, commitment, list_hash
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import DeviceLists, DeviceListView
from varde_contract.rest.talk import (
    ListHead,
    MemberView,
    RosterDevice,
)
from varde_contract.talk import ConversationKind, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


async def ghost_under_same_version(server: DishonestServer) -> None:
    """A roster of the version that is known has one device more, and the relay refuses sends without it."""
    await server.say(server.alice, "before")
    stale = StaleDevices(server.talk.version + 1, (server.ghost.id,), ())
    server.relay.refuse = lambda send: refused(send, RefusalCode.STALE_DEVICES, stale=stale)
    server.bend(server.alice, "conversation", lambda _: server.view_with_ghost(server.talk.version))
    await server.say(server.alice, "secret")


async def ghost_under_new_version(server: DishonestServer) -> None:
    """The same under a new version, of which everybody is told."""
    await server.say(server.alice, "before")
    await server.show(server.alice, server.view_with_ghost(server.talk.version + 1))
    await server.say(server.alice, "secret")


async def ghost_member(server: DishonestServer) -> None:
    """A member, with device list and device, whom nobody invited."""
    await server.show(server.alice, server.view_with_member(server.view))
    await server.say(server.alice, "secret")


async def dm_becomes_group(server: DishonestServer) -> None:
    """A dm is called a group, so that it has room for one more."""
    await server.show(server.alice, replace(server.view, kind=GROUP))
    await server.say(server.alice, "secret")


async def other_profile_of_device(server: DishonestServer) -> None:
    """Bob is there as a second profile, on his laptop; the server says that his phone receives for that one too."""
    jobb, laptop = bob_person.jobb, endpoint(bob_laptop)
    listed_for_jobb = replace(laptop.listed, profiles=(commitment(jobb.id, jobb.salt),))
    server.bob.account.put([server.bob.listed, listed_for_jobb])
    server.talk.past.append(laptop)
    server.talk.chain.say(server.alice, s.Invite, jobb.id, bob_person.account, Role.MEMBER)
    server.talk.chain.say(SecondProfile(laptop.signer._replace(profile=jobb.id), laptop), s.Accept, None)
    devices = tuple(
        replace(each, profiles=(*each.profiles, jobb.id)) if each.device == server.bob.id else each
        for each in (*server.view.devices, RosterDevice(laptop.id, bob_person.account, (jobb.id,)))
    )
    member = MemberView(jobb.id, bob_person.account, Role.MEMBER, jobb.salt)
    await server.show(server.alice, replace(server.view, members=(*server.view.members, member), devices=devices))
    await server.say(server.alice, "secret")


class SecondProfile(NamedTuple):
    """A device that signs as a profile which is not its person's first."""

    signer: m.Signer
    key: Endpoint


async def withheld_device(server: DishonestServer) -> None:
    """Carol's device is left out of the roster."""
    devices = tuple(each for each in server.view.devices if each.device != server.carol.id)
    view = replace(server.view, devices=devices)
    server.talk.endpoints.remove(server.carol)
    server.talk.version += 1
    await server.show(server.alice, view)
    await server.say(server.alice, "to Bob")


async def list_rolled_back(server: DishonestServer) -> None:
    """Of a device list that is known, the one before is shown."""
    before = server.talk.view.lists
    server.bob.account.put(server.bob.account.devices)
    server.talk.version += 1
    server.relay.change(server.talk)
    await server.say(server.alice, "to the new list")
    await server.show(server.alice, replace(server.view, lists=before))
    await server.say(server.alice, "secret")


async def show_list(server: DishonestServer, signed: bytes, newest: DeviceList) -> None:
    """Show Alice a list as Bob's next."""
    account, number = server.bob.account.person.account, len(server.bob.account.lists) + 1
    shown = DeviceLists((DeviceListView(number, signed),))
    server.bend(server.alice, "device_lists", lambda _: shown)
    heads = tuple(each for each in server.view.lists if each.account != account)
    head = ListHead(account, number, list_hash(newest))
    await server.show(server.alice, replace(server.view_with_ghost(server.view.roster_version), lists=(*heads, head)))
    await server.say(server.alice, "secret")


def list_with_ghost(server: DishonestServer) -> DeviceList:
    """What Bob's next list would be if the ghost were his."""
    account = server.bob.account
    ghost = replace(server.ghost.listed, profiles=server.bob.listed.profiles)
    person = account.person
    return next_list(account.lists[-1], person.account, person.root_key, [*account.devices, ghost], NOW)


async def list_of_somebody_else(server: DishonestServer) -> None:
    """The ghost's own list is shown as Bob's."""
    account = server.ghost.account
    account.put(account.devices)
    await show_list(server, account.signed[-1], account.lists[-1])


async def list_unsigned(server: DishonestServer) -> None:
    """A list of Bob with the ghost, which only the ghost signed."""
    fresh = list_with_ghost(server)
    await show_list(server, sign(fresh, signers={server.ghost.id: server.ghost.sign}), fresh)


async def keep_list(server: DishonestServer) -> None:
    """Bob has lost his laptop and taken it off his list. Alice is not shown that; the relay takes what she sends."""
    account, lost = server.bob.account, endpoint(bob_laptop)
    server.talk.join(lost)
    server.relay.change(server.talk)
    await server.say(server.alice, "before")
    kept = server.talk.view
    server.bend(server.alice, "conversation", lambda _: kept)
    server.talk.remove(lost)
    assert lost.id not in {each.device for each in account.devices}
    changed = f.Changed(f.ChangeKind.DEVICES, server.talk.conversation, server.talk.version)
    for reader in (server.bob, server.carol):
        server.relay.deliver(reader.id, changed)
    await wait_all_tasks_blocked()
    server.relay.takes_all = True


async def list_kept_from_one(server: DishonestServer) -> None:
    """Two hours later she writes."""
    await keep_list(server)
    server.clock_ms += LAG_MS + 1
    await server.say(server.alice, "secret")


async def list_kept_for_a_day(server: DishonestServer) -> None:
    """She writes on the next day only."""
    await keep_list(server)
    log = server.relay.transparency
    log.clock_ms += DAY_MS
    await trio.sleep(2 * ROUND_SECONDS)  # for the next look at the lists, in time that jumps
    server.clock_ms += DAY_MS
    await server.say(server.alice, "secret")


def demand_witness(server: DishonestServer) -> None:
    """Alice demands that a witness has cosigned the log."""
    policy = [f"log {key}" for key in KEYS] + [f"witness one {WITNESS.key}", "quorum one"]
    server.room.clients[server.alice].set_log_policy("\n".join(policy))


async def cosignatures_withheld(server: DishonestServer) -> None:
    """Alice's policy names a witness, and the server shows nothing that it has cosigned."""
    demand_witness(server)
    await server.say(server.alice, "secret")


async def log_for_one(server: DishonestServer) -> None:
    """The witness has cosigned the log that all others see. Alice, who has asked nobody yet, is shown another one."""
    log = server.relay.transparency
    log.cosigners = (WITNESS,)
    server.relay.publish_lists()
    log.cosigned = log.cosign()
    log.entries[0] = listed(1, digest=99)
    server.room.clients[server.alice].forget_log()
    demand_witness(server)
    await server.say(server.alice, "secret")


async def list_for_one(server: DishonestServer) -> None:
    """Whoever has stolen a manager of Bob signs a list that Alice alone is shown."""
    account, thief = server.bob.account, server.bob
    before = account.lists[-1]
    fresh = next_list(before, before.account, before.root_key, before.devices, NOW)
    signed = sign(fresh, signers={thief.id: thief.sign})
    heads = tuple(each for each in server.talk.view.lists if each.account != before.account)
    head = ListHead(before.account, fresh.number, list_hash(fresh))
    server.bend(server.alice, "device_lists", lambda _: DeviceLists((DeviceListView(fresh.number, signed),)))
    server.talk.version += 1
    await server.show(server.alice, replace(server.talk.view, lists=(*heads, head)))
    await server.say(server.alice, "who is this for")
    await server.say(server.alice, "and this")
    await trio.sleep(LISTS_PAUSE_SECONDS + 1)  # for the next look at the lists, in time that jumps


async def list_of_removed_manager(server: DishonestServer) -> None:
    """A list of Bob with the ghost, signed by a manager that Bob has taken off his list."""
    account, lost = server.bob.account, endpoint(bob_laptop)
    account.revoke(lost.id)
    server.talk.version += 1
    server.relay.change(server.talk)
    await wait_all_tasks_blocked()
    fresh = list_with_ghost(server)
    signers = {server.ghost.id: server.ghost.sign, lost.id: lost.sign}
    await show_list(server, sign(fresh, signers=signers), fresh)


async def wrong_inclusion_proof(server: DishonestServer) -> None:
    """The log's proof of a device list does not come to its root."""
    server.relay.transparency.lie = wrong_proof
    await server.say(server.alice, "secret")


async def forked_log(server: DishonestServer) -> None:
    """The log signs another history than before."""
    log = server.relay.transparency
    await server.say(server.alice, "before")
    log.entries[0] = listed(1, digest=99)
    server.bob.account.put(server.bob.account.devices)
    server.talk.version += 1
    server.relay.change(server.talk)
    await server.say(server.alice, "secret")


async def stale_checkpoint(server: DishonestServer) -> None:
    """The log has stopped for one client, which hides every list since."""
    server.relay.transparency.signed_ms = NOW - STALE_SECONDS * 1_000 - 2_000
    await server.say(server.alice, "secret")
