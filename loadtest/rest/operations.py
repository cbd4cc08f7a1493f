"""People who use the API: a mix of requests as one table, and journeys (sign-in, sign-up) that need a letter's code.

What is due in a worker process goes to whichever of its users has been idle longest.
"""

import os
import random
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import gevent
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gevent.queue import Queue

from loadtest.crowd.crowd import HOST, Crowd, Room, address_of
from loadtest.crowd.device_keys import draw_exchange_key, first_list, signed_prekeys, signing_key
from loadtest.ledger.ledger import Ledger
from loadtest.ledger.run_time import SECOND_NS, RunClock
from loadtest.rest.client import ApiClient, Request, RequestFailed
from loadtest.users.target import find_target
from varde_contract.device_list import SALT_BYTES
from varde_contract.ids import ENTROPY_BYTES, DeviceId, uuid7
from varde_contract.people import Policies, ProfileType, Theme
from varde_contract.rest import people
from varde_contract.rest.talk import Conversations, ConversationView
from varde_contract.signed_statements import session_statement

CLAIMS: Final = 8  # of one device's keys by one person. The API allows an account twenty an hour, and refuses more
Journey: TypeAlias = Generator[Request, Any, None]
"""Yields requests and is sent what each reply says; it is closed at the first that fails."""
SIGN_INS: Final = 2  # requests of a journey that count against the allowance of a network address
_MS_NS: Final = 1_000_000
_PREKEYS: Final = 10
_LETTER_BYTES: Final = 64 * 1024
_MOST_KEPT: Final = 10_000  # codes read and not asked for: those of other workers' users. The oldest go first
_TO: Final = re.compile(rb"^To: (\S+)\s*$", re.MULTILINE)
_CODE: Final = re.compile(rb"^ +(\d{6,10})\s*$", re.MULTILINE)


class Person:
    """Who asks: a seat of the crowd, with what its own device would know."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.number = number
        self.seat = crowd.seats[number]
        self.rooms = [crowd.rooms[room] for room in self.seat.rooms]
        self.address = address_of(self.seat.device)  # the e-mail address it signs in with
        self.claims = Counter[DeviceId]()  # how often keys of a device were claimed
        self.codes = 0  # how often a code was asked for: the API mails an address five an hour
        self._crowd = crowd

    def request(self, name: str, answer: type, *, path: str = "", body: Any = None) -> Request:
        """Return a request with its access token."""
        return Request(name=name, path=path, token=self.seat.access_token, body=body, answer=answer)

    def claimable(self, room: Room) -> list[DeviceId]:
        """Return the other devices of a room of which the API would still hand out keys."""
        others = (self._crowd.seats[member].device for member in room.members if member != self.number)
        return [device for device in others if self.claims[device] < CLAIMS]


Make = Callable[[Person, random.Random], Request]


def _show_conversation(person: Person, dice: random.Random) -> Request:
    if not person.rooms:
        return person.request("GET /v1/conversations", Conversations)
    path = f"/v1/conversations/{dice.choice(person.rooms).conversation}"
    return person.request("GET /v1/conversations/{conversation}", ConversationView, path=path)


def _change_profile(person: Person, dice: random.Random) -> Request:
    body = people.ProfileUpdate(theme=dice.choice(tuple(Theme)), policies=Policies())
    path = f"/v1/profiles/{person.seat.profile}"
    return person.request("PUT /v1/profiles/{profile}", people.ProfileView, path=path, body=body)


def _upload_prekeys(person: Person, _: random.Random) -> Request:
    # Always the same one-time key: there is at most one more than there was.
    private = person.seat.noise_private
    keys = signed_prekeys(person.seat.device, signing_key(private), [private])
    return person.request("POST /v1/prekeys", people.PrekeyCount, body=keys)


def _claim_prekeys(person: Person, dice: random.Random) -> Request:
    if person.rooms:
        room = dice.choice(person.rooms)
        if claimable := person.claimable(room):
            device = dice.choice(claimable)
            person.claims[device] += 1
            body = people.PrekeyClaim(room.conversation, (device,))
            return person.request("POST /v1/prekeys/claim", people.ClaimedKeys, body=body)
    return person.request("GET /v1/prekeys", people.PrekeyCount)


def _plain(name: str, answer: type) -> Make:
    return lambda person, _: person.request(name, answer)


# Each with its share of requests. A client asks for its conversations and a ticket each time it starts, which is most
# of it; profiles and devices are looked at now and then; keys are claimed once for each new device.
MIX: Final[tuple[tuple[float, Make], ...]] = (
    (22, _plain("GET /v1/conversations", Conversations)),
    (20, _plain("POST /v1/relay/tickets", people.RelayTicket)),
    (12, _show_conversation),
    (10, _plain("GET /v1/profiles", people.Profiles)),
    (8, _plain("GET /v1/devices", people.Devices)),
    (6, _plain("GET /v1/prekeys", people.PrekeyCount)),
    (5, _claim_prekeys),
    (4, _upload_prekeys),
    (4, _change_profile),
    (4, _plain("GET /v1/account", people.AccountView)),
    (3, lambda _, __: Request(name="GET /v1/relay", answer=people.RelayAddress)),
    (2, _plain("GET /v1/auth/sessions", people.Sessions)),
)
_WEIGHTS: Final = [weight for weight, _ in MIX]


def draw_request(person: Person, dice: random.Random) -> Request:
    """Return something that this person asks for."""
    ((_, make),) = dice.choices(MIX, _WEIGHTS)
    return make(person, dice)


class LetterBox:
    """The letters that a fresh stack writes to a folder instead of mailing them: codes, each to be taken once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._codes: dict[str, str] = {}

    def take(self, address: str) -> str | None:
        """Return the newest code for an address; None without a letter. The API writes it before it answers."""
        names = {path.name for path in self._folder.glob("*.eml")}
        for name in sorted(names - self._seen):  # names begin with the time, the newest last
            with suppress(FileNotFoundError), (self._folder / name).open("rb") as letter:
                text = letter.read(_LETTER_BYTES)
                if (to := _TO.search(text)) is not None and (code := _CODE.search(text)) is not None:
                    self._codes[to[1].decode("ascii", "replace")] = code[1].decode()
        while len(self._codes) > _MOST_KEPT:
            del self._codes[next(iter(self._codes))]
        self._seen = names
        return self._codes.pop(address, None)


def sign_in(address: str, letters: LetterBox) -> Journey:
    """Somebody who has an account signs in somewhere else, comes back after an hour, and signs out."""
    tokens = yield from _enter(address, letters)
    shown = people.Refresh(tokens.refresh_token)
    tokens = yield Request(name="POST /v1/auth/session/refresh", body=shown, answer=people.SessionTokens)
    yield Request(name="DELETE /v1/auth/session", token=tokens.access_token)


def sign_up(letters: LetterBox) -> Journey:
    """Somebody new makes an account, a profile and a device with keys, and fetches a ticket."""
    tokens = yield from _enter(f"{secrets.token_hex(16)}@{HOST}", letters)
    signing = Ed25519PrivateKey.generate()
    device = DeviceId(uuid7(time.time_ns() // _MS_NS, os.urandom(ENTROPY_BYTES)))

    def ask(name: str, answer: type, body: object = None) -> Request:
        return Request(name=name, token=tokens.access_token, body=body, answer=answer)

    salt = os.urandom(SALT_BYTES)
    profile = yield ask("POST /v1/profiles", people.ProfileView, people.NewProfile(ProfileType.PRIVAT, salt))
    keys = (draw_exchange_key(), signing.public_key().public_bytes_raw(), draw_exchange_key())
    _, signed = first_list(tokens.account, device, keys, (profile.profile, salt), signing, time.time_ns() // _MS_NS)
    yield ask("PUT /v1/device-list", people.DeviceListView, people.NewDeviceList(signed))
    yield Request(
        name="PUT /v1/devices/{device}/session",
        path=f"/v1/devices/{device}/session",
        token=tokens.access_token,
        body=people.DeviceProof(signing.sign(session_statement(tokens.session, device))),
        answer=people.DeviceView,
    )
    yield ask("POST /v1/prekeys", people.PrekeyCount, signed_prekeys(device, signing, [b""] * _PREKEYS))
    yield ask("POST /v1/relay/tickets", people.RelayTicket)
    yield Request(name="DELETE /v1/auth/session", token=tokens.access_token)


def _enter(address: str, letters: LetterBox) -> Generator[Request, Any, people.SessionTokens]:
    yield Request(name="POST /v1/auth/codes", body=people.CodeRequest(address), answer=people.CodeSent)
    # Without a letter there is still a request to be made, and a failure to be seen.
    shown = people.SignIn(address, letters.take(address) or "00000000")
    tokens = yield Request(name="POST /v1/auth/session", body=shown, answer=people.SessionTokens)
    assert isinstance(tokens, people.SessionTokens)
    return tokens


SIGN_IN_SHARE: Final = 0.01
"""Of draws that begin a journey; one has four requests or eight, so that they are about six in a hundred of all."""
_SIGN_UP_SHARE: Final = 0.5
_CODES: Final = 4  # of one address. The API mails five an hour
_BURST: Final = 40.0
# A third of the API's own figures (VARDE_SIGN_IN_BURST and one a second): several workers may share an address.
_PER_SECOND: Final = 0.3


class SignInAllowance:
    """How often users of one source address sign in: a token bucket for each, below the API's limit for a network."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._left: dict[str, tuple[float, int]] = {}

    def spend(self, source: str, tokens: float) -> bool:
        """Take tokens of an address. Whether there were enough."""
        now_ns = self._now_ns()
        left, at_ns = self._left.get(source, (_BURST, now_ns))
        left = min(_BURST, left + (now_ns - at_ns) / SECOND_NS * _PER_SECOND)
        enough = left >= tokens
        self._left[source] = (left - tokens if enough else left, now_ns)
        return enough


class ApiUsers:
    """Opens them, and gives them their turns. Raises CouldNotRun when the API's host cannot be found.

    `outbox`: the folder to which a fresh stack writes its letters. Without one nobody signs in, because no code can be
    read, and nobody refreshes: the tokens in the crowd's file would be void for the next run.
    """

    def __init__(
        self,
        crowd: Crowd,
        ledger: Ledger,
        clock: RunClock,
        outbox: Path | None = None,
        *,
        seed: int = 0,
        sign_in_share: float = SIGN_IN_SHARE,
    ) -> None:
        self.ledger, self.clock = ledger, clock
        self._crowd = crowd
        self._origin = find_target(crowd.api_url, "API")
        self._letters = None if outbox is None else LetterBox(outbox)
        self._sign_in_share = sign_in_share
        self._allowance = SignInAllowance(clock.now_ns)
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self.due = Queue[int]()  # when each request was due that nobody has taken; the user idle longest gets it

    def open(self, seat: int) -> "ApiUser":
        """Return the user in a seat, whose `live` is to be run."""
        client = ApiClient(self._origin, self._source(seat), authority=self._crowd.authority)
        return ApiUser(Person(self._crowd, seat), client, self)

    def fire(self, intended_ns: int) -> None:
        """A request is due. Waits for nothing."""
        self.ledger.request_due()
        self.due.put_nowait(intended_ns)

    def _source(self, seat: int) -> str | None:
        return self._origin.source_of(seat, len(self._crowd.seats))

    def draw(self, person: Person) -> Journey:
        """Yield what somebody asks next: one thing, or all of a journey."""
        letters, dice = self._letters, self._dice
        if (
            letters is None
            or dice.random() >= self._sign_in_share
            or not self._allowance.spend(self._source(person.number) or "", SIGN_INS)
        ):
            yield draw_request(person, dice)
        elif person.codes < _CODES and dice.random() >= _SIGN_UP_SHARE:
            person.codes += 1
            yield from sign_in(person.address, letters)
        else:
            yield from sign_up(letters)


class ApiUser:
    """Makes one request at a time, whenever one is due. `live` lasts as long as the user does."""

    def __init__(self, person: Person, client: ApiClient, users: ApiUsers) -> None:
        self.seat = person.number  # its number in the crowd
        self._person, self._client, self._users = person, client, users
        self._living: gevent.Greenlet | None = None

    def live(self) -> None:
        """Make requests until stopped. A journey ends at the first that fails."""
        self._living = gevent.getcurrent()
        try:
            while True:
                journey, answer = self._users.draw(self._person), None
                with suppress(StopIteration, RequestFailed):
                    while True:
                        answer = self._ask(journey.send(answer), self._users.due.get())
        except gevent.GreenletExit:
            pass  # stopped
        finally:
            self._living = None
            self._client.close()

    def stop(self) -> None:
        """End `live`, also in the midst of a request, which then counts as unfinished."""
        if self._living is not None and self._living is not gevent.getcurrent():
            self._living.kill(block=False)

    def _ask(self, request: Request, intended_ns: int) -> Any:
        sent_ns, failure = self._users.clock.now_ns(), "unfinished"
        try:
            answer, failure = self._client.ask(request), ""
        except RequestFailed as fault:
            failure = str(fault)
            raise
        finally:
            # Also when the user is stopped: whoever waited is not forgotten.
            self._users.ledger.request(request.name, intended_ns, sent_ns, failure or None)
        return answer
