"""Tickets: what opens the door and what does not, and revocations."""

import base64
import json
import random
import re
from typing import Any
from uuid import UUID

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from domain.people.model import Revocation
from domain.people.revocations import Revocations
from domain.people.tickets import LIFETIME, SKEW, TYPE, IssuedTicket, Ticket, TicketChecker, TicketIssuer
from simulation.stores.clock import DeterministicEntropy, ManualClock
from tests.cast import alice, alice_laptop, bob_phone
from tests.ids import id_of
from varde_contract.ids import DeviceId
from varde_contract.limits import TICKET_BYTES
from varde_contract.refusals import RefusalCode, Refused

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()


class Door:
    """An issuer and a checker with one clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.revocations = Revocations()
        self.issuer = TicketIssuer(KEY.private_bytes_raw(), entropy=DeterministicEntropy())
        self.checker = TicketChecker([PUBLIC], self.revocations, clock=self.clock)

    def issue(self) -> IssuedTicket:
        """A ticket for Alice's laptop, now."""
        return self.issuer.issue(alice_laptop.model, read_ms=self.clock())

    def knock(self, text: str) -> Ticket | RefusalCode:
        """Show a ticket as Alice's laptop."""
        judged = self.checker.check(text, device=alice_laptop.id, noise_key=alice_laptop.noise.public)
        return judged.code if isinstance(judged, Refused) else judged

    def claims(self) -> dict[str, Any]:
        """What a good ticket says."""
        return dict(jwt.decode(self.issue().text, options={"verify_signature": False}))


def forge(claims: dict[str, Any], key: Ed25519PrivateKey = KEY, **headers: Any) -> str:
    """Sign anything."""
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"typ": TYPE, **headers})


def test_a_good_ticket_says_who_comes() -> None:
    """Device, account, key and whitelist are those of the device; it lives for a day and stays within its size."""
    door = Door()
    issued = door.issue()
    ticket = door.knock(issued.text)
    assert isinstance(ticket, Ticket)
    assert (ticket.device, ticket.account, ticket.noise_key) == (
        alice_laptop.id,
        alice.account,
        alice_laptop.noise.public,
    )
    assert ticket.profiles == {alice.privat.id, alice.jobb.id}
    assert (ticket.issued_ms, ticket.expires_ms) == (door.clock(), door.clock() + LIFETIME)
    assert issued.expires_ms == ticket.expires_ms
    assert len(issued.text) <= TICKET_BYTES


def test_a_routing_hint_stays_and_tells_nothing() -> None:
    """A device has the same each time, under one key alone; it is two bytes, so that many devices share one."""
    door = Door()
    hint = door.issue().route
    assert re.fullmatch("[0-9a-f]{4}", hint)
    assert hint == door.issue().route
    devices = [msgspec.structs.replace(alice_laptop.model, id=DeviceId(id_of(number))) for number in range(100)]
    other = TicketIssuer(OTHER_KEY.private_bytes_raw(), entropy=DeterministicEntropy())
    ours, theirs = ([issuer.issue(device, read_ms=0).route for device in devices] for issuer in (door.issuer, other))
    assert len(set(ours)) > len(devices) / 2
    assert sum(one == another for one, another in zip(ours, theirs, strict=True)) < 5


def test_a_ticket_is_not_shown_by_accident() -> None:
    """Its repr does not open the door."""
    issued = Door().issue()
    assert issued.text not in repr(issued)


def test_a_ticket_is_for_one_device_and_one_key() -> None:
    """Neither another device nor another Noise key gets in with it."""
    door = Door()
    text = door.issue().text
    as_other = door.checker.check(text, device=bob_phone.id, noise_key=alice_laptop.noise.public)
    with_other_key = door.checker.check(text, device=alice_laptop.id, noise_key=bob_phone.noise.public)
    for judged in (as_other, with_other_key):
        assert isinstance(judged, Refused)
        assert judged.code is RefusalCode.TICKET_INVALID


def test_a_ticket_lasts_to_the_millisecond() -> None:
    """It is good until just before its time has passed."""
    door = Door()
    text = door.issue().text
    door.clock.advance(LIFETIME - 1)
    assert isinstance(door.knock(text), Ticket)
    door.clock.advance(1)
    assert door.knock(text) is RefusalCode.TICKET_EXPIRED


def test_a_ticket_from_the_future_is_invalid() -> None:
    """Clocks may be apart a little, not more."""
    door = Door()
    text = door.issue().text
    door.clock.advance(-SKEW)
    assert isinstance(door.knock(text), Ticket)
    door.clock.advance(-1)
    assert door.knock(text) is RefusalCode.TICKET_INVALID


def test_only_our_key_and_algorithm_count() -> None:
    """Another key, no signature, or a MAC under the public key are forgeries."""
    door = Door()
    claims = door.claims()
    assert isinstance(door.knock(forge(claims)), Ticket)
    none = jwt.encode(claims, "", algorithm="none", headers={"typ": TYPE})
    mac = jwt.encode(claims, PUBLIC, algorithm="HS256", headers={"typ": TYPE})
    for text in (forge(claims, OTHER_KEY), none, mac):
        assert door.knock(text) is RefusalCode.TICKET_INVALID


def test_another_kind_of_token_is_no_ticket() -> None:
    """The type in the header keeps whatever else this key may sign one day apart."""
    door = Door()
    assert door.knock(forge(door.claims(), typ="JWT")) is RefusalCode.TICKET_INVALID


@pytest.mark.parametrize("claim", ["sub", "acc", "nk", "prf", "iat", "exp", "jti"])
@pytest.mark.parametrize("value", [None, 7, "x", ["x"], {}, "absent"])
def test_a_claim_that_is_missing_or_strange_is_invalid(claim: str, value: object) -> None:
    """Well signed nonsense is nonsense; nothing raises."""
    door = Door()
    claims = door.claims()
    if value == "absent":
        del claims[claim]
    else:
        claims[claim] = value
    judged = door.knock(forge(claims))
    assert judged in {RefusalCode.TICKET_INVALID, RefusalCode.TICKET_EXPIRED}


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_whatever_is_no_ticket_is_invalid(text: str) -> None:
    """Any text is refused by name; nothing raises."""
    assert Door().knock(text) is RefusalCode.TICKET_INVALID


def test_every_changed_character_is_noticed() -> None:
    """A ticket with one character changed is no ticket, wherever it is."""
    door = Door()
    text = door.issue().text
    for place in range(len(text) - 1):  # the last one holds bits that base64 does not use
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert door.knock(changed) is RefusalCode.TICKET_INVALID


def test_a_final_revocation_is_for_ever() -> None:
    """Also for tickets that are issued afterwards."""
    door = Door()
    door.revocations.note(Revocation(alice_laptop.id, door.clock(), final=True))
    door.clock.advance(1_000)
    assert door.knock(door.issue().text) is RefusalCode.TICKET_REVOKED


def test_a_new_whitelist_voids_what_was_issued_before() -> None:
    """In the same millisecond counts as before: in doubt, the device asks for a new ticket."""
    door = Door()
    old = door.issue().text
    door.revocations.note(Revocation(alice_laptop.id, door.clock(), final=False))
    assert door.knock(old) is RefusalCode.TICKET_INVALID
    door.clock.advance(1)
    assert isinstance(door.knock(door.issue().text), Ticket)


def test_a_live_ticket_is_judged_again() -> None:
    """What was good at the door may have come to its end since."""
    door = Door()
    ticket = door.knock(door.issue().text)
    assert isinstance(ticket, Ticket)
    assert door.checker.judge_again(ticket) is None
    door.revocations.note(Revocation(alice_laptop.id, door.clock(), final=True))
    judged = door.checker.judge_again(ticket)
    assert judged is not None
    assert judged.code is RefusalCode.TICKET_REVOKED


def test_the_times_of_a_ticket_are_numeric_dates() -> None:
    """RFC 7519 counts in seconds; ours keep their milliseconds behind the point."""
    door = Door()
    door.clock.advance(123)
    payload = door.issue().text.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["iat"] * 1_000 == door.clock()
    assert UUID(claims["jti"]).version == 7


words = st.tuples(st.integers(0, 3), st.integers(0, 100), st.booleans())


@given(st.lists(words, max_size=20), st.randoms(use_true_random=False))
def test_revocations_do_not_depend_on_their_order(heard: list[tuple[int, int, bool]], dice: random.Random) -> None:
    """Bus and snapshot may say the same things in any order, and any number of times."""
    one, other = Revocations(), Revocations()
    said = [Revocation(DeviceId(id_of(device)), at, final) for device, at, final in heard]
    for each in said:
        one.note(each)
    dice.shuffle(said)
    for each in said + said:
        other.note(each)
    for device in range(4):
        for issued in range(102):
            key = DeviceId(id_of(device))
            assert one.find(key, issued) == other.find(key, issued)


def test_revocations_are_forgotten_when_no_ticket_can_need_them() -> None:
    """The table does not grow for ever."""
    revocations = Revocations()
    for device in range(10):
        revocations.note(Revocation(DeviceId(id_of(device)), device, final=True))
    revocations.forget_before(7)
    assert len(revocations) == 3
    assert revocations.find(DeviceId(id_of(7)), 0) is not None


@pytest.mark.parametrize("key", [bytes(32), PUBLIC[:31], PUBLIC + b"\0", b"\1" + bytes(31)])
def test_a_checker_takes_no_key_that_anybody_could_sign_for(key: bytes) -> None:
    """A point of small order, or what is no key at all: the node does not start, rather than let everybody in."""
    with pytest.raises(ValueError, match="no Ed25519 key"):
        TicketChecker([key], Revocations(), clock=ManualClock())


@pytest.mark.parametrize("cut", [0, 1, 63])
def test_a_signature_has_one_length(cut: int) -> None:
    """What a shorter or longer one lacks is not taken from the claims behind it."""
    door = Door()
    signed, _, signature = door.issue().text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    for changed in (raw[:cut], raw + raw[:1]):
        text = f"{signed}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}"
        assert door.knock(text) is RefusalCode.TICKET_INVALID


def test_while_the_key_changes_tickets_of_both_hold() -> None:
    """Whichever of the two the API signed with, and none of a third one."""
    door = Door()
    others = [OTHER_KEY.public_key().public_bytes_raw(), PUBLIC]
    door.checker = TicketChecker(others, door.revocations, clock=door.clock)
    claims = door.claims()
    assert isinstance(door.knock(forge(claims)), Ticket)
    assert isinstance(door.knock(forge(claims, OTHER_KEY)), Ticket)
    third = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    assert door.knock(forge(claims, third)) is RefusalCode.TICKET_INVALID
