"""The whole system as real processes: an API and a relay over a fresh database, for all tests of this folder."""

import email
import email.policy
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trio

import varde
from tests.postgres import database, url_of

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 20
SECONDS = 90
"""For a test to fail in; none of them waits for time to pass. On a machine that does much else, 30 were too few."""


class Program:
    """One server process, restarted with the settings it was started with."""

    def __init__(self, module: str, environ: dict[str, str], log: Path) -> None:
        self._module = module
        self._environ = environ
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""
        self.root = ROOT
        """Whose code it runs."""

    def start(self) -> str:
        """Start it and return the address of its ready line."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", self._module),
                env=self._environ | {"PYTHONPATH": str(self.root)},
                cwd=self.root,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self._module} said nothing: {self._log.read_text()}"
        self.address = json.loads(line).get("address", "")  # a worker has none
        return self.address

    @property
    def environ(self) -> dict[str, str]:
        """A copy of what it is told."""
        return dict(self._environ)

    def change(self, **environ: str) -> None:
        """Start it with this from the next time on."""
        self._environ |= environ

    def kill(self) -> None:
        """As if the machine had lost power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator would."""
        self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        code = self._process.wait(SECONDS)
        self._process.stdout.close()
        self._process = None
        return code

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(TIMEOUT_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None


class Stack:
    """The running system."""

    def __init__(self, data: Path, database_url: str) -> None:
        environ = os.environ | {
            "VARDE_DATA": str(data),
            "VARDE_DATABASE_URL": database_url,
            "VARDE_API_BIND": "127.0.0.1:0",
            "VARDE_RELAY_BIND": "127.0.0.1:0",
            "VARDE_RELAY_DRAIN_SECONDS": "2",
            "VARDE_SIGN_IN_BURST": "1000",
            "PYTHONPATH": str(ROOT),
        }
        self.data = data
        self.database_url = database_url
        # Each program as the user of the database that it is to have: it works with the rights of that one.
        self._environ = environ | {"VARDE_DATABASE_URL": url_of("varde_relay", database_url)}
        self.relay = Program("relay", dict(self._environ), data / "relay.log")
        api = environ | {"VARDE_DATABASE_URL": url_of("varde_api", database_url)}
        self.api = Program("api", api, data / "api.log")

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return self.api.address

    def start(self) -> None:
        """The relay first: the API tells where it is."""
        host = self.relay.start().removeprefix("ws://").partition("/")[0]
        self.relay.change(VARDE_RELAY_BIND=host)
        self.api.change(VARDE_RELAY_URL=f"ws://{host}/v1/relay")
        self.api.change(VARDE_API_BIND=self.api.start().removeprefix("http://"))

    def open_relay(self, name: str, **environ: str) -> Program:
        """A further relay node on a port of its own, not started yet."""
        told = self._environ | {"VARDE_RELAY_BIND": "127.0.0.1:0", "VARDE_RELAY_NAME": name, **environ}
        return Program("relay", told, self.data / f"{name}.log")

    def worker(self, **environ: str) -> Program:
        """A worker, not started yet. The shared system has none: a log whose worker ended would stop everybody."""
        own = {"VARDE_DATABASE_URL": url_of("varde_worker", self.database_url)}
        return Program("worker", self._environ | own | environ, self.data / "worker.log")

    def restart_api(self, relay_url: str, *, proxies: int) -> None:
        """Have the API name another relay. Other tests share the stack: give it back as it was."""
        self.api.stop()
        self.api.change(VARDE_RELAY_URL=relay_url, VARDE_API_PROXIES=str(proxies))
        self.api.start()

    def stop(self) -> None:
        """Both, politely."""
        self.relay.stop()
        self.api.stop()

    def code_for(self, address: str) -> str:
        """The newest code mailed to an address."""
        return newest_code(self.data / "outbox", address)


def newest_code(outbox: Path, address: str) -> str:
    """The newest code mailed to an address."""
    for path in sorted(outbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        letter = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if address in str(letter["To"]):
            body = letter.get_body()
            assert body is not None
            (code,) = re.findall(r"^\s+(\d{6,10})\s*$", body.get_content(), re.MULTILINE)
            return str(code)
    raise AssertionError("no letter came")


class System(Protocol):
    """Where people sign up: a stack, or a whole machine."""

    @property
    def api_url(self) -> str:
        """Where clients find the API."""

    def code_for(self, address: str) -> str:
        """The newest code mailed to an address."""


class Person:
    """Somebody with an account, and a home folder for each of their devices."""

    def __init__(self, stack: System, name: str, folder: Path) -> None:
        self.name = name
        self.email = f"{name}-{folder.name}@example.org"
        self.phrase = ""
        self._stack = stack
        self._folder = folder

    async def sign_up(self, device: str = "laptop") -> varde.Enrolled:
        """Make the account, on its first device."""
        await varde.request_code(self._stack.api_url, self.email)
        done = await varde.sign_up(
            self.home(device),
            self.key(device),
            api_url=self._stack.api_url,
            email=self.email,
            code=self._stack.code_for(self.email),
        )
        self.phrase = done.recovery_phrase or ""
        return done

    async def log_in(self, device: str) -> varde.Enrolled:
        """Make a further device."""
        await varde.request_code(self._stack.api_url, self.email)
        return await varde.log_in(
            self.home(device),
            self.key(device),
            api_url=self._stack.api_url,
            email=self.email,
            code=self._stack.code_for(self.email),
            recovery_phrase=self.phrase,
        )

    def home(self, device: str) -> Path:
        """The home folder of a device."""
        return self._folder / f"{self.name}-{device}"

    def key(self, device: str) -> varde.KeyFile:
        """The key file of a device."""
        return varde.KeyFile(self.home(device) / "key")


@asynccontextmanager
async def connected(*devices: tuple[Person, str], seconds: float = SECONDS) -> AsyncIterator[list[varde.Client]]:
    """Clients of these devices, connected. The block fails after so many seconds."""
    with trio.fail_after(seconds):
        async with AsyncExitStack() as stack:
            clients = []
            for person, device in devices:
                client = await stack.enter_async_context(varde.connect(person.home(device), person.key(device)))
                await client.wait_connected()
                clients.append(client)
            yield clients


async def people(stack: System, folder: Path, *names: str) -> list[Person]:
    """People with an account and a laptop each."""
    persons = [Person(stack, name, folder) for name in names]
    for person in persons:
        await person.sign_up()
    return persons


async def open_dm(opener: varde.Client, other: varde.Client) -> varde.Conversation:
    """A dm that the other one has accepted."""
    conversation = await opener.open_dm(other.identity.profiles[0].id)
    await other.conversation(conversation.id).accept()
    await conversation.refresh()
    return conversation


async def open_group(opener: varde.Client, *others: varde.Client) -> varde.Conversation:
    """A group that everybody has accepted to be in."""
    group = await opener.open_group([other.identity.profiles[0].id for other in others])
    for other in others:
        await other.conversation(group.id).accept()
    await group.refresh()
    return group


async def invite(group: varde.Conversation, other: varde.Client) -> None:
    """One more member, who has accepted."""
    await group.invite(other.identity.profiles[0].id)
    await other.conversation(group.id).accept()
    await group.refresh()


async def texts(client: varde.Client, conversation: varde.Conversation, count: int) -> list[str]:
    """The next texts of a conversation, as one client reads it."""
    messages = aiter(client.conversation(conversation.id))
    return [(await anext(messages)).text for _ in range(count)]


@contextmanager
def running_stack(data: Path, database_url: str) -> Iterator[Stack]:
    """A system of one's own."""
    stack = Stack(data, database_url)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def stack(postgres_url: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The system that all tests share: each test has people of its own."""
    with (
        database(postgres_url, migrated_template) as database_url,
        running_stack(tmp_path_factory.mktemp("stack"), database_url) as stack,
    ):
        yield stack
