"""The program over a real Postgres: the promises that only a database and a process of its own can keep."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from storage.embedded.cluster import program as postgres_program
from tests.api.bodies import claim, statements
from tests.api.program import Program, SignedUpDevice, log_in, run_program, sign_up
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone, mallory, mallory_phone
from tests.chains import CastSigner, Chain, cast_key
from varde_contract.ids import ProfileId
from varde_contract.membership_statements import Accept, Invite
from varde_contract.talk import ConversationKind, Role


@pytest.fixture
def program(database_url: str, tmp_path: Path) -> Iterator[Program]:
    """The API over a fresh database."""
    with run_program(tmp_path, database_url) as program:
        yield program


def open_dm(one: SignedUpDevice, other: SignedUpDevice) -> str:
    """Open a dm that the other one accepts; its id."""
    first, second = (CastSigner(each.device, ProfileId(UUID(each.profile)), each.account, 1) for each in (one, other))
    chain = Chain(cast_key).create(first, ConversationKind.DM)
    chain.say(first, Invite, second.signer.profile, second.signer.account, Role.MEMBER)
    one.expect(201, "POST", "/v1/conversations", statements(*chain.signed))
    accepted = statements(chain.sign(second, Accept, None))
    other.expect(201, "POST", f"/v1/conversations/{chain.conversation}/statements", accepted)
    return str(chain.conversation)


def message(by: SignedUpDevice, to: SignedUpDevice, conversation: str, number: int = 1) -> dict[str, object]:
    """One message to the only other device there is."""
    return {
        "client_id": f"019b76da-a800-7000-8000-{number:012x}",
        "conversation": conversation,
        "profile": by.profile,
        "roster_version": 2,
        "devices": {str(to.device.id): "c2VhbGVk"},
    }


def dump_of(database_url: str) -> str:
    """Everything the database holds, as text; bytes as they are and as hex."""
    dump = subprocess.run((postgres_program("pg_dump"), "-d", database_url), check=True, capture_output=True, text=True)
    return dump.stdout


def test_two_people_sign_up_and_write(program: Program) -> None:
    """From an e-mail address to a message, through every store there is."""
    with program.client() as client:
        one, other = sign_up(program, client, alice, alice_phone), sign_up(program, client, bob, bob_phone)
        conversation = open_dm(one, other)
        claimed = one.expect(200, "POST", "/v1/prekeys/claim", claim(conversation, bob_phone))
        assert claimed["keys"][0]["device"] == str(bob_phone.id)
        stored = one.expect(201, "POST", "/v1/messages", message(one, other, conversation))
        assert one.expect(200, "POST", "/v1/messages", message(one, other, conversation)) == stored
        (row,) = other.expect(200, "GET", "/v1/conversations")["conversations"]
        assert (row["head"], row["upto"]) == (4, 2)
        assert one.expect(201, "POST", "/v1/relay/tickets")["ticket"]


def test_what_was_answered_survives_a_kill(database_url: str, tmp_path: Path) -> None:
    """After `kill -9`, an answered message and the session it was sent in are there; sent again, it is the same."""
    with run_program(tmp_path, database_url) as first, first.client() as client:
        one, other = sign_up(first, client, alice, alice_phone), sign_up(first, client, bob, bob_phone)
        conversation = open_dm(one, other)
        stored = one.expect(201, "POST", "/v1/messages", message(one, other, conversation))
        first.kill()
    with run_program(tmp_path, database_url) as second, second.client() as client:
        one.client = client
        assert one.expect(200, "POST", "/v1/messages", message(one, other, conversation)) == stored
        assert one.expect(201, "POST", "/v1/messages", message(one, other, conversation, 2))["seq"] == 5


def test_a_revoked_device_is_out_at_once(program: Program) -> None:
    """Its tokens are good for nothing, its keys are gone, and others see a roster without it."""
    with program.client() as client:
        one, other = sign_up(program, client, alice, alice_phone), sign_up(program, client, bob, bob_phone)
        conversation = open_dm(one, other)
        laptop = SignedUpDevice(alice, alice_laptop, client, log_in(program, client, alice), one.profile)
        laptop.put_list(alice_laptop, alice_phone)
        laptop.adopt(alice_laptop)
        laptop.put_list(alice_laptop)
        assert one.ask("GET", "/v1/account").status_code == 401
        view = other.expect(200, "GET", f"/v1/conversations/{conversation}")
        devices = {device["device"] for device in view["devices"]}
        assert devices == {str(alice_laptop.id), str(bob_phone.id)}
        gone = other.ask("POST", "/v1/prekeys/claim", claim(conversation, alice_phone)).json()
        assert gone["stale"]["gone"] == [str(alice_phone.id)]


def test_a_device_whose_session_ended_comes_back(program: Program) -> None:
    """After logging out, the same device signs in again, and has the message that came meanwhile waiting for it."""
    with program.client() as client:
        one, other = sign_up(program, client, alice, alice_phone), sign_up(program, client, bob, bob_phone)
        conversation = open_dm(one, other)
        other.expect(204, "DELETE", "/v1/auth/session")
        one.expect(201, "POST", "/v1/messages", message(one, other, conversation))
        other.tokens = log_in(program, client, bob)
        assert other.adopt(bob_phone)["current"]
        (row,) = other.expect(200, "GET", "/v1/conversations")["conversations"]
        assert (row["head"], row["upto"]) == (4, 2)
        assert other.expect(201, "POST", "/v1/relay/tickets")["ticket"]


def test_an_outsider_with_an_account_gets_nowhere(program: Program) -> None:
    """Neither reading nor writing nor client who is there."""
    with program.client() as client:
        one, other = sign_up(program, client, alice, alice_phone), sign_up(program, client, bob, bob_phone)
        outsider = sign_up(program, client, mallory, mallory_phone)
        conversation = open_dm(one, other)
        send = message(outsider, other, conversation) | {"profile": outsider.profile}
        assert outsider.ask("GET", f"/v1/conversations/{conversation}").status_code == 404
        assert outsider.ask("POST", "/v1/messages", send).status_code == 404
        assert outsider.ask("POST", "/v1/prekeys/claim", claim(conversation, bob_phone)).status_code == 404
        assert outsider.expect(200, "GET", "/v1/conversations")["conversations"] == []


def test_neither_database_nor_log_holds_a_secret(program: Program, database_url: str) -> None:
    """No address, code or token is in the database; and of ids, not one is in the log."""
    with program.client() as client:
        one = sign_up(program, client, alice, alice_phone)
        assert client.get(f"/v1/profiles/{one.profile}?token={one.tokens['access_token']}").status_code == 401
    code = program.newest_letter(alice.email)
    secrets = [alice.email, "alice", code, one.tokens["access_token"], one.tokens["refresh_token"]]
    held = dump_of(database_url)
    assert [secret for secret in secrets if secret in held or secret.encode().hex() in held] == []
    assert str(one.account) in held, "the dump is of the right database"
    logged = (program.data / "api.log").read_text().replace(f"sign-in code for {alice.email}: {code}", "")
    assert [secret for secret in (*secrets, str(one.account), one.profile) if secret in logged] == []


def test_a_program_that_cannot_run_says_why(bare_database_url: str, tmp_path: Path) -> None:
    """Without a schema the program ends with one line that says what to do."""
    with pytest.raises(json.JSONDecodeError), run_program(tmp_path, bare_database_url):
        pass
    assert (tmp_path / "api.log").read_text().splitlines()[-1].endswith("run: varde migrate")
