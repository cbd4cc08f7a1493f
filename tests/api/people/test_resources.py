"""Accounts, profiles, devices, prekeys and tickets over HTTP: what is allowed arrives, and changes are announced."""

import msgspec

from domain.people.events import DevicesChanged, KeysLow, ProfileChanged, TicketsRevoked
from domain.people.revocations import Revocations
from domain.people.tickets import LIFETIME, Ticket, TicketChecker
from tests.api.bodies import claim, device_list, prekeys, proof
from tests.api.memory_api import KEYS, TICKET_KEY, DeviceClient, MemoryApi, refusal_of
from tests.cast import (
    ONE_TIME_KEYS,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    mallory,
    mallory_phone,
    open_conversation,
)
from varde_contract.people import Theme
from varde_contract.rest.people import (
    ClaimedKeys,
    DeviceLists,
    DeviceListView,
    Devices,
    DeviceView,
    PrekeyCount,
    ProfileOpening,
    Profiles,
    ProfileView,
    RelayAddress,
    RelayTicket,
)

SALT = "A" * 43 + "="
tablet = alice.further_device("tablet")


async def test_profiles_are_made_shown_and_replaced(api: MemoryApi) -> None:
    """A profile is what was asked for, and a change of it reaches the relays."""
    client = DeviceClient(api, alice_phone)
    made = await client.post(ProfileView, "/v1/profiles", {"type": "JOBB", "salt": SALT, "policies": {"typing": False}})
    assert made.policies.typing is False
    assert await client.get(ProfileView, f"/v1/profiles/{made.profile}") == made
    body = {"theme": "dark", "policies": {"notifications": "none"}}
    replaced = await client.put(ProfileView, f"/v1/profiles/{made.profile}", body)
    assert (replaced.theme, replaced.policies.typing) == (Theme.DARK, True)
    assert api.bus.published == [ProfileChanged(made.profile)]
    listed = await client.get(Profiles, "/v1/profiles")
    assert [view.profile for view in listed.profiles] == [alice.profile, alice.jobb.id, made.profile]


async def test_a_device_is_registered_by_a_list_and_binds_its_session(api: MemoryApi) -> None:
    """The list makes the device, the device's own proof gives it the session; both again change nothing."""
    await api.stores.sessions.add(tablet.session)
    client, body = DeviceClient(api, tablet), await device_list(api.stores, api.clock(), add=[tablet])
    made = await client.put(DeviceListView, "/v1/device-list", body, status=201)
    assert made.number == 3
    assert await client.put(DeviceListView, "/v1/device-list", body) == made
    path = f"/v1/devices/{tablet.id}/session"
    assert (await client.put(DeviceView, path, proof(tablet, tablet.session.id))).current
    listed = await client.get(Devices, "/v1/devices")
    assert [view.device for view in listed.devices if view.current] == [tablet.id]
    assert len(listed.devices) == 3
    assert (await client.get(PrekeyCount, "/v1/prekeys")) == PrekeyCount(0, has_fallback=False)


async def test_lists_are_shown_to_their_owner_and_to_who_may_write(api: MemoryApi) -> None:
    """The owner sees all, from a number on; a stranger names a profile, whose opening says which account it is."""
    own = await DeviceClient(api, alice_phone).get(DeviceLists, "/v1/device-list")
    assert [view.number for view in own.lists] == [1, 2]
    later = await DeviceClient(api, alice_phone).get(DeviceLists, "/v1/device-list", **{"from": 2})
    assert later.lists == own.lists[1:]
    stranger, path = DeviceClient(api, mallory_phone), f"/v1/accounts/{alice.account}/device-lists"
    opening = await stranger.get(ProfileOpening, f"/v1/profiles/{alice.profile}/opening")
    assert opening == ProfileOpening(alice.profile, alice.account, alice.privat.salt, 2)
    assert await stranger.get(DeviceLists, path, profile=str(alice.profile)) == own
    refusal_of(await api.ask("GET", path, by=mallory_phone), 404)
    await open_conversation(api.stores, alice, mallory)
    assert await stranger.get(DeviceLists, path) == own


async def test_a_device_comes_back_in_a_new_session(api: MemoryApi) -> None:
    """What was stranded without a session has tickets and prekeys again; the session it may have had is over."""
    await api.stores.sessions.add(tablet.session)
    client, path = DeviceClient(api, tablet), f"/v1/devices/{alice_phone.id}/session"
    adopted = await client.put(DeviceView, path, proof(alice_phone, tablet.session.id))
    assert adopted.current
    assert adopted.device == alice_phone.id
    assert await client.put(DeviceView, path, proof(alice_phone, tablet.session.id)) == adopted
    listed = await client.get(Devices, "/v1/devices")
    assert [view for view in listed.devices if view.current] == [adopted]
    await client.post(RelayTicket, "/v1/relay/tickets")
    assert (await client.get(PrekeyCount, "/v1/prekeys")) == PrekeyCount(ONE_TIME_KEYS, has_fallback=True)
    refusal_of(await api.ask("GET", "/v1/account", by=alice_phone), 401)
    assert api.bus.published == []


async def test_a_whitelist_is_replaced(api: MemoryApi) -> None:
    """The device's tickets are void, so that its next one says what it may receive now."""
    body = await device_list(api.stores, api.clock(), profiles={alice_phone.id: [alice.jobb.id]})
    await DeviceClient(api, alice_laptop).put(DeviceListView, "/v1/device-list", body, status=201)
    listed = await DeviceClient(api, alice_laptop).get(Devices, "/v1/devices")
    assert [view.profiles for view in listed.devices if view.device == alice_phone.id] == [(alice.jobb.id,)]
    assert api.bus.published == [TicketsRevoked(alice_phone.id, api.clock(), final=False)]


async def test_a_device_is_revoked(api: MemoryApi) -> None:
    """Relays are told to cut it before anything else, and it can ask for nothing any more."""
    conversation = await open_conversation(api.stores, alice, bob)
    body = await device_list(api.stores, api.clock(), revoke=[alice_phone.id])
    await DeviceClient(api, alice_laptop).put(DeviceListView, "/v1/device-list", body, status=201)
    assert api.bus.published == [
        TicketsRevoked(alice_phone.id, api.clock(), final=True),
        DevicesChanged(conversation, 2),
    ]
    refusal_of(await api.ask("POST", "/v1/relay/tickets", by=alice_phone), 401)


async def test_prekeys_are_uploaded_counted_and_claimed(api: MemoryApi) -> None:
    """What a device uploads is handed out to those who share a conversation with it, and it hears when few are left."""
    conversation = await open_conversation(api.stores, alice, bob)
    counted = PrekeyCount(ONE_TIME_KEYS + 3, has_fallback=True)
    assert (
        await DeviceClient(api, bob_phone).post(PrekeyCount, "/v1/prekeys", prekeys(bob_phone), status=200) == counted
    )
    body = claim(conversation, bob_phone, alice_laptop)
    claimed = await DeviceClient(api, alice_phone).post(ClaimedKeys, "/v1/prekeys/claim", body, status=200)
    assert [(key.device, key.key.key, key.fallback) for key in claimed.keys] == [
        (bob_phone.id, bob_phone.one_time_keys()[0].key, False),
        (alice_laptop.id, alice_laptop.one_time_keys()[0].key, False),
    ]
    assert claimed.without == ()
    assert KeysLow(bob_phone.id, ONE_TIME_KEYS + 2) in api.bus.published


async def test_a_ticket_is_good_for_the_device_it_was_made_for(api: MemoryApi) -> None:
    """What the API signs, a relay accepts with the device's Noise key, for a day."""
    given = await DeviceClient(api, alice_phone).post(RelayTicket, "/v1/relay/tickets")
    checker = TicketChecker([TICKET_KEY.public_key().public_bytes_raw()], Revocations(), clock=api.clock)
    checked = checker.check(given.ticket, device=alice_phone.id, noise_key=alice_phone.model.noise_key)
    assert isinstance(checked, Ticket)
    assert checked.profiles == {alice.profile, alice.jobb.id}
    assert given.expires_at.timestamp() * 1_000 == checked.expires_ms == api.clock() + LIFETIME


async def test_the_relay_is_shown_to_everybody(api: MemoryApi) -> None:
    """Its address and key are public: a client checks the key in the handshake."""
    response = await api.ask("GET", "/v1/relay")
    shown = msgspec.json.decode(response.content, type=RelayAddress)
    assert shown == RelayAddress(api.services.config.relay_url, KEYS.relay_public, KEYS.relay_kem_public)
