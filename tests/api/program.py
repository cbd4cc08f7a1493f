"""The API as it is run: the program itself, over a real Postgres, and people who sign up with it.

Keys are the cast's.
"""

import email
import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import policy
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from tests.api.bodies import first_list, prekeys, proof
from tests.cast import CastDevice, Person
from varde_contract.device_list import commitment
from varde_contract.ids import AccountId, ProfileId, SessionId

SALT = bytes(range(32))
CODE = re.compile(r"^ +(\d{8})$", re.MULTILINE)


@dataclass(frozen=True)
class Program:
    """A running `python -m api`."""

    address: str
    data: Path
    process: "subprocess.Popen[str]"

    def client(self) -> httpx.Client:
        """Return a client of it."""
        return httpx.Client(base_url=self.address, timeout=20)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def newest_letter(self, address: str) -> str:
        """Return the code in the newest letter to an address."""
        for path in sorted((self.data / "outbox").glob("*.eml"), reverse=True):
            letter = email.message_from_bytes(path.read_bytes(), policy=policy.default)
            found = CODE.search(letter.get_content())
            if letter["To"] == address and found:
                return found[1]
        raise AssertionError(f"no code was mailed to {address}")


@contextmanager
def run_program(data: Path, database_url: str, **environ: str) -> Iterator[Program]:
    """Run the API until the block ends, and see it stop in good order unless it was killed."""
    settings = {
        "VARDE_DATA": str(data),
        "VARDE_DATABASE_URL": database_url,
        "VARDE_API_BIND": "127.0.0.1:0",
        "VARDE_SIGN_IN_BURST": "1000",
    }
    with (data / "api.log").open("a") as log, start(log, os.environ | settings | environ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline() or (data / "api.log").read_text())
        assert said["ready"] == "api"
        yield Program(said["address"], data, process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (data / "api.log").read_text()


@contextmanager
def start(log: Any, environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Start the program, and leave nothing running."""
    command = (sys.executable, "-m", "api")
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@dataclass
class SignedUpDevice:
    """Somebody of the cast who has signed up here, on one device. The ids are the server's."""

    person: Person
    device: CastDevice
    client: httpx.Client
    tokens: dict[str, Any]
    profile: str = ""

    @property
    def account(self) -> AccountId:
        """The account id."""
        return AccountId(UUID(self.tokens["account"]))

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request."""
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Send a request as this person."""
        return self.client.request(method, path, json=body, headers=self.headers)

    def expect(self, status: int, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request, expect this status, and return the body."""
        response = self.ask(method, path, body)
        assert response.status_code == status, response.text
        return dict(response.json()) if response.content else {}

    def put_list(self, *devices: CastDevice) -> None:
        """Make these the account's devices, signed by its root key and by those that are new."""
        own = self.expect(200, "GET", "/v1/device-list")["lists"]
        before = b64decode(own[-1]["list"]) if own else None
        commitments = (commitment(ProfileId(UUID(self.profile)), SALT),)
        self.expect(
            201, "PUT", "/v1/device-list", first_list(self.account, self.person.root, before, commitments, *devices)
        )

    def adopt(self, device: CastDevice) -> dict[str, Any]:
        """Bind the session to this device."""
        body = proof(device, SessionId(UUID(self.tokens["session"])))
        return self.expect(200, "PUT", f"/v1/devices/{device.id}/session", body)


def text_of(raw: bytes) -> str:
    """Return bytes as JSON spells them."""
    return b64encode(raw).decode()


def sign_up(program: Program, client: httpx.Client, person: Person, device: CastDevice) -> SignedUpDevice:
    """Sign up from nothing: code, session, profile, device list, prekeys."""
    signed_up = SignedUpDevice(person, device, client, log_in(program, client, person))
    signed_up.profile = signed_up.expect(201, "POST", "/v1/profiles", {"type": "PRIVAT", "salt": text_of(SALT)})[
        "profile"
    ]
    signed_up.put_list(device)
    signed_up.adopt(device)
    signed_up.expect(200, "POST", "/v1/prekeys", prekeys(device))
    return signed_up


def log_in(program: Program, client: httpx.Client, person: Person) -> dict[str, Any]:
    """Sign in with a mailed code; the tokens."""
    assert client.post("/v1/auth/codes", json={"email": person.email}).status_code == 202
    code = program.newest_letter(person.email)
    response = client.post("/v1/auth/session", json={"email": person.email, "code": code})
    assert response.status_code == 201, response.text
    return dict(response.json())
