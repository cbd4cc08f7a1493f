"""People who were copied into a database: the relay and the API take them for people who signed up."""

import base64
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec.structs import asdict, replace

from loadtest.command.cli import main
from loadtest.crowd.crowd import Crowd, Order, Seat, address_of, read_crowd, run_seeding
from loadtest.crowd.device_keys import KEM_KEY, derive_secret, signing_key
from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import PAIRS, Sizes
from loadtest.stack.stack import Stack, open_stack
from tests.loadtest.crowd.member import open_member
from tests.system import SCRATCH
from varde_contract import frames as f
from varde_contract.device_list import commitment, decode_signed_list, judge
from varde_contract.envelope import Cipher, SealedParts, join_sealed
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.noise import KeyPair
from varde_contract.signed_statements import one_time_key_statement

pytestmark = pytest.mark.xdist_group("seeding")  # they share one stack

TRIPLES = Sizes(((3, 1.0),))
MANY = 70
"""More than the API lets into one conversation."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A system that runs, in a folder that Postgres may pass through, as another user."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as name, open_stack(Path(name)) as opened:
        yield opened


@pytest.fixture(scope="module")
def pair(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """Two people with a dm, the first in the database."""
    return run_seeding(stack.order(2, tmp_path_factory.mktemp("pair") / "crowd", rooms=PAIRS, into_existing=True))


@pytest.fixture(scope="module")
def channel(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """One room of everybody."""
    everybody = Sizes(((MANY, 1.0),))
    out = tmp_path_factory.mktemp("channel") / "crowd"
    return run_seeding(stack.order(MANY, out, rooms=everybody, into_existing=True))


def caller(stack: Stack, seat: Seat) -> httpx.Client:
    """The API as the seat may use it."""
    return httpx.Client(base_url=stack.api_url, headers={"Authorization": f"Bearer {seat.access_token}"})


def ask(client: httpx.Client, method: str, path: str, body: object = None) -> Any:
    """What the API answers, which must be a success."""
    answer = client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def raw(text: str) -> bytes:
    """The bytes of base64."""
    return base64.b64decode(text)


def test_two_people_talk(pair: Crowd) -> None:
    """What one sends is acked and comes to the other, byte for byte, and the answer comes back."""
    (room,) = pair.rooms
    assert (room.members, room.group, [seat.rooms for seat in pair.seats]) == ((0, 1), False, [(0,), (0,)])
    with open_member(pair, 0) as one, open_member(pair, 1) as other:
        for number, (sender, receiver) in enumerate(((one, other), (other, one)), start=1):
            ciphertext = join_sealed(SealedParts(Cipher.OLM, b"", os.urandom(200)))
            ack = sender.send_devices(room, {receiver.seat.device: ciphertext})
            new = receiver.wait(f.New)
            assert (ack.seq, new.seq, new.ciphertext, new.sender_device) == (
                number,
                number,
                ciphertext,
                sender.seat.device,
            )


def test_a_group_hears_its_member_and_nobody_else_does(stack: Stack, tmp_path: Path) -> None:
    """Of two groups of three, the two others of the first get the message; the second group is told of its own only."""
    crowd = run_seeding(stack.order(6, tmp_path / "crowd", rooms=TRIPLES, into_existing=True))
    assert [room.members for room in crowd.rooms] == [(0, 1, 2), (3, 4, 5)]
    with ExitStack() as open_ones:
        members = [open_ones.enter_context(open_member(crowd, number)) for number in range(6)]
        for room, said in zip(crowd.rooms, (b"first" * 9, b"second" * 9), strict=True):
            sender, *others = (members[number] for number in room.members)
            assert sender.send_group(room, said).seq == 1
            assert [other.wait(f.New).ciphertext for other in others] == [said, said]


def test_a_room_may_be_larger_than_the_api_would_make_it(channel: Crowd) -> None:
    """The first of seventy sends, and the last hears it: the relay asks the roster, not how many are in it."""
    (room,) = channel.rooms
    assert room.members == tuple(range(MANY))
    with open_member(channel, 0) as first, open_member(channel, MANY - 1) as last:
        first.send_group(room, b"all" * 20)
        assert last.wait(f.New).ciphertext == b"all" * 20


def test_in_a_channel_nobody_is_told_of_everybody(stack: Stack, pair: Crowd, channel: Crowd) -> None:
    """Members of a room that is larger than a group show no receipts and no presence; everybody else does."""
    for seat, shown in ((channel.seats[0], False), (pair.seats[0], True)):
        with caller(stack, seat) as client:
            (profile,) = ask(client, "GET", "/v1/profiles")["profiles"]
        policies = profile["policies"]
        assert {policies[name] for name in ("read_receipts", "delivery_receipts", "typing", "presence")} == {shown}


def test_the_api_knows_them(stack: Stack, pair: Crowd) -> None:
    """With the access token one lists the profile, gets a ticket that the relay takes, and sees the dm."""
    seat = pair.seats[0]
    with caller(stack, seat) as client:
        (profile,) = ask(client, "GET", "/v1/profiles")["profiles"]
        (conversation,) = ask(client, "GET", "/v1/conversations")["conversations"]
        ticket = ask(client, "POST", "/v1/relay/tickets")["ticket"]
    assert (profile["profile"], conversation["conversation"]) == (str(seat.profile), str(pair.rooms[0].conversation))
    with open_member(replace(pair, seats=(replace(seat, ticket=ticket), pair.seats[1])), 0):
        pass


def test_every_device_list_and_prekey_holds(stack: Stack, pair: Crowd) -> None:
    """A client that checks who it encrypts for finds signatures that are good."""
    one, other = pair.seats
    conversation = pair.rooms[0].conversation
    with caller(stack, one) as client:
        view = ask(client, "GET", f"/v1/conversations/{conversation}")
        claim = {"conversation": str(conversation), "devices": [str(other.device)]}
        (claimed,) = ask(client, "POST", "/v1/prekeys/claim", claim)["keys"]
    salts = {member["account"]: (ProfileId(UUID(member["profile"])), raw(member["salt"])) for member in view["members"]}
    assert len(view["devices"]) == 2
    for shown in view["devices"]:
        with caller(stack, one) as client:
            (only,) = ask(client, "GET", f"/v1/accounts/{shown['account']}/device-lists")["lists"]
        first = judge(None, decode_signed_list(raw(only["list"])))
        listed = first.find(DeviceId(UUID(shown["device"])))
        assert listed is not None
        assert listed.profiles == (commitment(*salts[shown["account"]]),)
    key = claimed["key"]
    signed = one_time_key_statement(other.device, raw(key["key"]), raw(key["kem_key"]))
    signing_key(other.noise_private).public_key().verify(raw(key["signature"]), signed)


def test_they_can_do_what_the_rest_scenario_asks_of_them(stack: Stack, pair: Crowd) -> None:
    """A key that the device signs is taken, a refresh token works once, and the code in the mail signs in."""
    seat = pair.seats[1]
    fresh = KeyPair.generate().public
    signature = signing_key(seat.noise_private).sign(one_time_key_statement(seat.device, fresh, KEM_KEY))
    keys = {"key": fresh, "kem_key": KEM_KEY, "signature": signature}
    upload = {name: base64.b64encode(content).decode() for name, content in keys.items()}
    with caller(stack, seat) as client:
        before = ask(client, "GET", "/v1/prekeys")["one_time_keys"]
        assert ask(client, "POST", "/v1/prekeys", {"one_time_keys": [upload]})["one_time_keys"] == before + 1
        ask(client, "POST", "/v1/auth/codes", {"email": address_of(seat.device)})
        signed_in = ask(client, "POST", "/v1/auth/session", {"email": address_of(seat.device), "code": _mailed(stack)})
        # A token begins with the ids of account and session.
        token = base64.urlsafe_b64decode(seat.access_token + "==")[:32] + derive_secret(seat.noise_private, b"refresh")
        shown = {"refresh_token": base64.urlsafe_b64encode(token).rstrip(b"=").decode()}
        refreshed = ask(client, "POST", "/v1/auth/session/refresh", shown)
    assert (signed_in["account"], signed_in["new_account"]) == (str(seat.account), False)
    assert refreshed["account"] == str(seat.account)


def test_nobody_is_added_to_people_by_mistake(stack: Stack, pair: Crowd, tmp_path: Path) -> None:
    """A database with people in it is left alone unless that is meant, and no file of a crowd is written."""
    with pytest.raises(CouldNotRun, match="--into-existing"):
        run_seeding(stack.order(2, tmp_path / "crowd"))
    assert not (tmp_path / "crowd").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"keys": "nowhere"}, "the keys have not been made yet"),
        ({"out": "nowhere/crowd"}, "is not a folder"),
        ({"authority": "nowhere.pem"}, "nowhere.pem"),
        ({"database_url": "postgresql://varde@127.0.0.1:1/varde"}, "cannot be reached"),
        ({"rooms": Sizes(((1, 1.0),))}, "two members"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said(stack: Stack, tmp_path: Path, words: dict[str, Any], said: str) -> None:
    """The child's fault comes out as a sentence, and the file is not there."""
    asked = stack.order(2, tmp_path / "crowd", into_existing=True)
    with pytest.raises(CouldNotRun, match=said):
        run_seeding(Order(**(asdict(asked) | words)))
    assert not (tmp_path / "crowd").exists()


def test_the_command_seeds(stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m loadtest seed` writes a file that only its owner reads, and shows what it has done and no key."""
    out = tmp_path / "crowd"
    words = (
        *("seed", "--users", "7", "--rooms", "one", "--into-existing", "--out", str(out)),
        *("--database-url", stack.database_url, "--keys", str(stack.keys), "--relay-url", stack.relay_url),
    )
    assert main(words) == 0
    crowd = read_crowd(out)
    assert [len(room.members) for room in crowd.rooms] == [7]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    shown = capsys.readouterr().out
    assert "7 people in 1 conversations" in shown
    assert not any(seat.ticket in shown or seat.ticket in repr(crowd) for seat in crowd.seats)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--users", "1"), "--users"),
    ],
)
def test_bad_options_are_refused(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked of a database, with the code of a command that could not run."""
    needed = ("--database-url", "postgresql:///", "--keys", str(tmp_path), "--relay-url", "ws://x", "--out", "crowd")
    assert main(("seed", *needed, *words)) == 3
    assert said in capsys.readouterr().err


def test_an_order_is_not_shown() -> None:
    """It may hold the password of a database."""
    secret = "postgresql://varde:secret@db/varde"
    assert "secret" not in repr(Order(seats=2, relay_url="", database_url=secret, keys="", out=""))


def _mailed(stack: Stack) -> str:
    """The code in the newest mail."""
    mail = max(stack.outbox.glob("*.eml")).read_text()
    found = re.search(r"\b\d{8}\b", mail)
    assert found
    return found[0]
