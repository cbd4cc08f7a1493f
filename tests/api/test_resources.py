"""The resources over HTTP: what the domain allows arrives as it should, and what changes is announced.

What is refused is in `test_refusals.py`.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from domain.people.events import DevicesChanged, KeysLow, ProfileChanged, TicketsRevoked
from domain.people.revocations import Revocations
from domain.people.tickets import LIFETIME, Ticket, TicketChecker
from domain.talk.events import MembershipChanged, MessagesCommitted
from tests.api.bodies import claim, new_device, prekeys, proof
from tests.api.face import KEYS, TICKET_KEY, Face, refusal_of
from tests.api.sends import new_message
from tests.cast import (
    ONE_TIME_KEYS,
    Gear,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    carol_phone,
    open_conversation,
)
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.rest.conversations import ConversationKind, Conversations, ConversationView, Role, SenderView
from varde_contract.rest.devices import ClaimedKeys, Devices, DeviceView, PrekeyCount
from varde_contract.rest.messages import MessageStored
from varde_contract.rest.profiles import Profiles, ProfileView, Theme
from varde_contract.rest.relay import RelayAddress, RelayTicket

T = TypeVar("T", bound=Struct)
tablet = alice.further_device("tablet")
PATH = "/v1/conversations"


class Asking:
    """Asks as one device, expects a status, and reads the body as what the contract says it is."""

    def __init__(self, face: Face, by: Gear) -> None:
        self._face = face
        self._by = by

    async def get(self, kind: type[T], path: str, **query: Any) -> T:
        """Expect 200."""
        return await self._ask(kind, 200, "GET", path, params=query)

    async def post(self, kind: type[T], path: str, body: object = None, *, status: int = 201) -> T:
        """Expect 201, or what the test says."""
        return await self._ask(kind, status, "POST", path, json=body)

    async def put(self, kind: type[T], path: str, body: object) -> T:
        """Expect 200."""
        return await self._ask(kind, 200, "PUT", path, json=body)

    async def delete(self, path: str, **query: Any) -> None:
        """Expect 204."""
        response = await self._face.ask("DELETE", path, by=self._by, params=query)
        assert (response.status_code, response.content) == (204, b""), response.text

    async def _ask(self, kind: type[T], status: int, method: str, path: str, **more: Any) -> T:
        response = await self._face.ask(method, path, by=self._by, **more)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        return msgspec.json.decode(response.content, type=kind)


async def test_profiles_are_made_shown_and_replaced(face: Face) -> None:
    """A profile is what was asked for, and a change of it reaches the relays."""
    asking = Asking(face, alice_phone)
    made = await asking.post(ProfileView, "/v1/profiles", {"type": "JOBB", "policies": {"typing": False}})
    assert made.policies.typing is False
    assert await asking.get(ProfileView, f"/v1/profiles/{made.profile}") == made
    body = {"theme": "dark", "policies": {"notifications": "none"}}
    replaced = await asking.put(ProfileView, f"/v1/profiles/{made.profile}", body)
    assert (replaced.theme, replaced.policies.typing) == (Theme.DARK, True)
    assert face.bus.published == [ProfileChanged(made.profile)]
    listed = await asking.get(Profiles, "/v1/profiles")
    assert [view.profile for view in listed.profiles] == [alice.profile, alice.jobb.id, made.profile]


async def test_a_device_is_registered_and_known_to_its_session(face: Face) -> None:
    """From registering on, the session acts as the device; the same request again changes nothing."""
    await face.stores.sessions.add(tablet.session)
    asking = Asking(face, tablet)
    made = await asking.post(DeviceView, "/v1/devices", new_device(tablet))
    assert made.current
    assert made.certificate.signature == tablet.noun.signature
    assert await asking.post(DeviceView, "/v1/devices", new_device(tablet), status=200) == made
    listed = await asking.get(Devices, "/v1/devices")
    assert [view.certificate.device for view in listed.devices if view.current] == [tablet.id]
    assert len(listed.devices) == 3
    assert (await asking.get(PrekeyCount, "/v1/prekeys")) == PrekeyCount(0, has_fallback=False)


async def test_a_device_comes_back_in_a_new_session(face: Face) -> None:
    """What was stranded without a session has tickets and prekeys again; the session it may have had is over."""
    await face.stores.sessions.add(tablet.session)
    asking, path = Asking(face, tablet), f"/v1/devices/{alice_phone.id}/session"
    adopted = await asking.put(DeviceView, path, proof(alice_phone, tablet.session.id))
    assert adopted.current
    assert adopted.certificate.signature == alice_phone.noun.signature
    assert await asking.put(DeviceView, path, proof(alice_phone, tablet.session.id)) == adopted
    listed = await asking.get(Devices, "/v1/devices")
    assert [view for view in listed.devices if view.current] == [adopted]
    await asking.post(RelayTicket, "/v1/relay/tickets")
    assert (await asking.get(PrekeyCount, "/v1/prekeys")) == PrekeyCount(ONE_TIME_KEYS, has_fallback=True)
    refusal_of(await face.ask("GET", "/v1/account", by=alice_phone), 401)
    assert face.bus.published == []


async def test_a_whitelist_is_replaced(face: Face) -> None:
    """The device's tickets are void, so that its next one says what it may receive now."""
    body = {"profiles": [str(alice.jobb.id)]}
    changed = await Asking(face, alice_laptop).put(DeviceView, f"/v1/devices/{alice_phone.id}/profiles", body)
    assert changed.profiles == (alice.jobb.id,)
    assert face.bus.published == [TicketsRevoked(alice_phone.id, face.clock(), final=False)]


async def test_a_device_is_revoked(face: Face) -> None:
    """Relays are told to cut it before anything else, and it can ask for nothing any more."""
    conversation = await open_conversation(face.stores, alice, bob)
    await Asking(face, alice_laptop).delete(f"/v1/devices/{alice_phone.id}")
    assert face.bus.published == [
        TicketsRevoked(alice_phone.id, face.clock(), final=True),
        DevicesChanged(conversation, 2),
    ]
    refusal_of(await face.ask("POST", "/v1/relay/tickets", by=alice_phone), 401)


async def test_prekeys_are_uploaded_counted_and_claimed(face: Face) -> None:
    """What a device uploads is handed out to those who share a conversation with it, and it hears when few are left."""
    conversation = await open_conversation(face.stores, alice, bob)
    counted = PrekeyCount(ONE_TIME_KEYS + 3, has_fallback=True)
    assert await Asking(face, bob_phone).post(PrekeyCount, "/v1/prekeys", prekeys(bob_phone), status=200) == counted
    body = claim(conversation, bob_phone, alice_laptop)
    claimed = await Asking(face, alice_phone).post(ClaimedKeys, "/v1/prekeys/claim", body, status=200)
    assert [(key.device, key.key.key, key.fallback) for key in claimed.keys] == [
        (bob_phone.id, bob_phone.one_time_keys()[0].key, False),
        (alice_laptop.id, alice_laptop.one_time_keys()[0].key, False),
    ]
    assert claimed.without == ()
    assert KeysLow(bob_phone.id, ONE_TIME_KEYS + 2) in face.bus.published


async def test_a_dm_is_opened_once(face: Face) -> None:
    """The second time, from either side, it is the one that is there."""
    dm = {"kind": "dm", "profile": str(alice.profile), "members": [str(bob.profile)]}
    made = await Asking(face, alice_phone).post(ConversationView, PATH, dm)
    assert made.kind is ConversationKind.DM
    back = {"kind": "dm", "profile": str(bob.profile), "members": [str(alice.profile)]}
    assert await Asking(face, bob_phone).post(ConversationView, PATH, back, status=200) == made
    assert face.bus.published == [MembershipChanged(made.conversation, made.roster_version)]


async def test_a_roster_says_all_that_a_sender_needs(face: Face) -> None:
    """Members with their root keys, and devices with certificates, in the order of their ids."""
    conversation = await open_conversation(face.stores, alice, bob)
    view = await Asking(face, bob_phone).get(ConversationView, f"{PATH}/{conversation}")
    assert {member.profile: member.root_key for member in view.members} == {
        alice.profile: alice.root_key,
        bob.profile: bob.root_key,
    }
    devices = [device.certificate.device for device in view.devices]
    assert devices == sorted(gear.id for gear in (*alice.devices, *bob.devices))
    assert (view.head, view.roster_version) == (0, 1)


async def test_who_wrote_is_shown_when_gone(face: Face) -> None:
    """A member gets the certificate and root key of a device that wrote: current, revoked, and of who left."""
    conversation = await open_conversation(face.stores, alice, bob)
    await Asking(face, alice_phone).post(MessageStored, "/v1/messages", new_message(conversation))
    path, asking = f"{PATH}/{conversation}/senders/{alice_phone.id}", Asking(face, bob_phone)
    shown = await asking.get(SenderView, path)
    assert (shown.certificate.account, shown.certificate.device) == (alice.account, alice_phone.id)
    assert shown.certificate.signature == alice_phone.noun.signature
    assert shown.root_key == alice.root_key
    await Asking(face, alice_laptop).delete(f"/v1/devices/{alice_phone.id}")
    assert await asking.get(SenderView, path) == shown
    assert (await asking.get(ConversationView, f"{PATH}/{conversation}")).roster_version == 2
    await face.stores.conversations.remove_member(conversation, 2, alice.profile)
    assert await asking.get(SenderView, path) == shown


async def test_the_list_is_paged_by_cursor(face: Face) -> None:
    """Following `next` meets every conversation once."""
    made = sorted([await open_conversation(face.stores, *people) for people in ([alice, bob], [alice, carol], [alice])])
    asking = Asking(face, alice_phone)
    first = await asking.get(Conversations, PATH, limit=2)
    assert [row.conversation for row in first.conversations] == made[:2]
    assert first.next == made[1]
    last = await asking.get(Conversations, PATH, limit=2, after=first.next)
    assert [row.conversation for row in last.conversations] == made[2:]
    assert last.next is None
    assert last.conversations[0].profiles == (alice.profile,)


def member_path(conversation: ConversationId, profile: ProfileId) -> str:
    """The path of one member."""
    return f"{PATH}/{conversation}/members/{profile}"


async def test_members_come_rise_and_go(face: Face) -> None:
    """The life of a group over HTTP; every step is announced."""
    conversation = await open_conversation(face.stores, alice, bob)
    asking, acting = Asking(face, alice_phone), {"as_profile": str(alice.profile)}
    body = {"profile": str(carol.profile), "role": "admin"} | acting
    added = await asking.post(ConversationView, f"{PATH}/{conversation}/members", body)
    assert {member.profile: member.role for member in added.members}[carol.profile] is Role.ADMIN
    await Asking(face, carol_phone).delete(member_path(conversation, bob.profile), as_profile=carol.profile)
    raised = await asking.put(ConversationView, member_path(conversation, carol.profile), {"role": "owner"} | acting)
    assert {member.role for member in raised.members} == {Role.OWNER}
    await asking.delete(member_path(conversation, alice.profile))
    refusal_of(await face.ask("GET", f"{PATH}/{conversation}", by=alice_phone), 404)
    assert face.bus.published == [MembershipChanged(conversation, version) for version in (2, 3, 4, 5)]


async def test_a_message_is_stored_once(face: Face) -> None:
    """The same client id again is answered with 200 and the same figures, and nothing is stored."""
    conversation = await open_conversation(face.stores, alice, bob)
    asking, body = Asking(face, alice_phone), new_message(conversation)
    stored = await asking.post(MessageStored, "/v1/messages", body)
    assert (stored.seq, str(stored.client_id)) == (1, body["client_id"])
    face.clock.go_on(1)
    assert await asking.post(MessageStored, "/v1/messages", body, status=200) == stored
    assert (await asking.post(MessageStored, "/v1/messages", new_message(conversation, 2))).seq == 2
    committed = [event for event in face.bus.published if isinstance(event, MessagesCommitted)]
    assert [event.head for event in committed] == [1, 1, 2]


async def test_a_group_message_is_one_ciphertext(face: Face) -> None:
    """A sender key needs one ciphertext for all."""
    conversation = await open_conversation(face.stores, alice, bob)
    body = new_message(conversation, devices=None, group="Z3JvdXA=")
    assert (await Asking(face, alice_phone).post(MessageStored, "/v1/messages", body)).seq == 1


async def test_a_ticket_is_good_for_the_device_it_was_made_for(face: Face) -> None:
    """What the API signs, a relay accepts with the device's Noise key, for a day."""
    given = await Asking(face, alice_phone).post(RelayTicket, "/v1/relay/tickets")
    checker = TicketChecker(TICKET_KEY.public_key().public_bytes_raw(), Revocations(), clock=face.clock)
    checked = checker.check(given.ticket, device=alice_phone.id, noise_key=alice_phone.noun.noise_key)
    assert isinstance(checked, Ticket)
    assert checked.profiles == {alice.profile, alice.jobb.id}
    assert given.expires_at.timestamp() * 1_000 == checked.expires_ms == face.clock() + LIFETIME


async def test_the_relay_is_shown_to_everybody(face: Face) -> None:
    """Its address and key are public: a client checks the key in the handshake."""
    response = await face.ask("GET", "/v1/relay")
    shown = msgspec.json.decode(response.content, type=RelayAddress)
    assert shown == RelayAddress(url=face.world.config.relay_url, static_key=KEYS.relay_public)


async def test_health_and_readiness(face: Face) -> None:
    """A load balancer hears that the process runs and can serve."""
    assert (await face.ask("GET", "/v1/health")).json() == {"status": "ok"}
    assert (await face.ask("GET", "/v1/ready")).json() == {"ready": True, "database": True}


async def test_head_and_options_are_answered(face: Face) -> None:
    """HEAD is GET without the body; OPTIONS says what there is."""
    head = await face.ask("HEAD", "/v1/health")
    assert (head.status_code, head.content) == (200, b"")
    options = await face.ask("OPTIONS", "/v1/profiles")
    assert (options.status_code, set(options.headers["allow"].split(", "))) == (200, {"GET", "HEAD", "OPTIONS", "POST"})


async def test_every_answer_keeps_browsers_at_bay(face: Face) -> None:
    """Good or refused, an answer is not sniffed, framed, cached, or read by other sites."""
    for path in ("/v1/health", "/v1/account", "/v1/nothing"):
        headers = (await face.ask("GET", path, headers={"Origin": "https://evil.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
