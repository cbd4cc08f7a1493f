"""The mix: what people ask the API for in a day, and how often, as one table.

Weights are shares of requests. A client asks for its conversations and a ticket each time it starts, which is most of
it; profiles and devices are looked at now and then; keys are claimed once for each new device that one writes to.
"""

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from loadtest.rest.person import Person
from loadtest.rest.request import Request
from varde_contract.people import Policies, Theme
from varde_contract.rest.people import (
    AccountView,
    ClaimedKeys,
    Devices,
    PrekeyClaim,
    PrekeyCount,
    PrekeyUpload,
    Profiles,
    ProfileUpdate,
    ProfileView,
    RelayAddress,
    RelayTicket,
    Sessions,
)
from varde_contract.rest.talk import Conversations, ConversationView

CLAIMS: Final = 8
"""Of one device's keys by one caller. The API allows ten an hour, and refuses more."""


def _list_conversations(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/conversations", Conversations)


def _show_conversation(person: Person, dice: random.Random) -> Request:
    rooms = person.rooms
    if not rooms:
        return _list_conversations(person, dice)
    path = f"/v1/conversations/{dice.choice(rooms).conversation}"
    return _get(person, "GET /v1/conversations/{conversation}", ConversationView, path)


def _issue_ticket(person: Person, _: random.Random) -> Request:
    return Request(
        name="POST /v1/relay/tickets", path="/v1/relay/tickets", token=person.seat.access_token, answer=RelayTicket
    )


def _show_relay(_: Person, __: random.Random) -> Request:
    return Request(name="GET /v1/relay", path="/v1/relay", answer=RelayAddress)


def _list_profiles(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/profiles", Profiles)


def _change_profile(person: Person, dice: random.Random) -> Request:
    return Request(
        name="PUT /v1/profiles/{profile}",
        path=f"/v1/profiles/{person.seat.profile}",
        token=person.seat.access_token,
        body=ProfileUpdate(theme=dice.choice(tuple(Theme)), policies=Policies()),
        answer=ProfileView,
    )


def _list_devices(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/devices", Devices)


def _show_account(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/account", AccountView)


def _list_sessions(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/auth/sessions", Sessions)


def _count_prekeys(person: Person, _: random.Random) -> Request:
    return _get(person, "GET /v1/prekeys", PrekeyCount)


def _upload_prekeys(person: Person, _: random.Random) -> Request:
    return Request(
        name="POST /v1/prekeys",
        path="/v1/prekeys",
        token=person.seat.access_token,
        body=PrekeyUpload(one_time_keys=(person.draw_one_time_key(),), fallback_key=person.draw_fallback_key()),
        answer=PrekeyCount,
    )


def _claim_prekeys(person: Person, dice: random.Random) -> Request:
    rooms = person.rooms
    room = dice.choice(rooms) if rooms else None
    claimable = [] if room is None else [other for other in person.others(room) if person.claims.get(other, 0) < CLAIMS]
    if room is None or not claimable:
        return _count_prekeys(person, dice)
    device = dice.choice(claimable)
    person.claims[device] = person.claims.get(device, 0) + 1
    return Request(
        name="POST /v1/prekeys/claim",
        path="/v1/prekeys/claim",
        token=person.seat.access_token,
        body=PrekeyClaim(room.conversation, (device,)),
        answer=ClaimedKeys,
    )


def _get(person: Person, name: str, answer: type, path: str = "") -> Request:
    return Request(name=name, path=path or name.partition(" ")[2], token=person.seat.access_token, answer=answer)


class Line(NamedTuple):
    """One operation and its weight."""

    weight: float
    make: Callable[[Person, random.Random], Request]


MIX: Final = (
    Line(22, _list_conversations),
    Line(20, _issue_ticket),
    Line(12, _show_conversation),
    Line(10, _list_profiles),
    Line(8, _list_devices),
    Line(6, _count_prekeys),
    Line(5, _claim_prekeys),
    Line(4, _upload_prekeys),
    Line(4, _change_profile),
    Line(4, _show_account),
    Line(3, _show_relay),
    Line(2, _list_sessions),
)
_WEIGHTS: Final = [line.weight for line in MIX]


def draw_request(person: Person, dice: random.Random) -> Request:
    """Return something that this person asks for."""
    (line,) = dice.choices(MIX, _WEIGHTS)
    return line.make(person, dice)
