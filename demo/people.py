"""The people of the demo and their devices: each device is the real SDK over a folder of its own."""

import email
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy
from pathlib import Path
from typing import Final, TypeVar

import trio

import varde
from varde.errors import VardeError
from varde.events import Event, Message
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId

_CODE: Final = re.compile(r"\b(\d{6,10})\b")
T = TypeVar("T")
_POLL: Final = 0.02  # seconds; a new file is no event


async def wait_code(outbox: Path, address: str, seen: set[Path]) -> str:
    """Return the code in the next mail to this address, and note the mail as seen. The caller sets a deadline."""
    while True:
        for mail in _mails(outbox) - seen:
            code = _read(mail, address)
            if code is not None:
                seen.add(mail)
                return code
        await trio.sleep(_POLL)


def _mails(outbox: Path) -> set[Path]:
    return set(outbox.glob("*.eml")) if outbox.is_dir() else set()


def _read(mail: Path, address: str) -> str | None:
    message = email.message_from_bytes(mail.read_bytes(), policy=policy.default)
    if address not in str(message["To"]):
        return None
    body = message.get_body(preferencelist=("plain",))
    found = _CODE.search(body.get_content()) if body is not None else None
    return found.group(1) if found else None


class Inbox:
    """Everything that `Client.events` handed out since the device came online."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: VardeError | None = None
        self._changed = trio.Event()

    def put(self, event: Event) -> None:
        """Take in what happened."""
        self.events.append(event)
        self._wake()

    def end(self, why: VardeError) -> None:
        """The client came to its end."""
        self.ended = why
        self._wake()

    def of(self, kind: type[T]) -> list[T]:
        """What came of one kind."""
        return [each for each in self.events if isinstance(each, kind)]

    def texts(self, conversation: ConversationId) -> list[str]:
        """The texts that came in a conversation, as they came."""
        return [message.text for message in self.of(Message) if message.conversation == conversation]

    async def wait(self, condition: Callable[["Inbox"], bool]) -> None:
        """Wait until the condition holds; the promise around it sets the deadline."""
        while not condition(self):
            await self._changed.wait()

    async def wait_text(self, conversation: ConversationId, text: str) -> None:
        """Wait for this very text."""
        await self.wait(lambda inbox: text in inbox.texts(conversation))

    async def wait_texts(self, conversation: ConversationId, count: int) -> list[str]:
        """Wait for so many messages of a conversation, and return their texts."""
        await self.wait(lambda inbox: len(inbox.texts(conversation)) >= count)
        return self.texts(conversation)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


PEOPLE: Final = {
    "alice": ("phone", "laptop"),
    "bob": ("phone", "laptop"),
    "carol": ("phone",),
    "dave": ("phone",),
    "erin": ("phone",),
}
"""Five people, seven devices. The first device of each signs up, the others log in."""


@dataclass(slots=True)
class Online:
    """A connected device."""

    client: varde.Client
    inbox: Inbox


@dataclass(slots=True)
class Device:
    """One device. It is the folder: between two connections nothing else is kept."""

    name: str
    home: Path
    _id: DeviceId | None = None

    @property
    def id(self) -> DeviceId:
        """Its id, once it has enrolled."""
        assert self._id is not None, f"{self.name} has not enrolled yet"
        return self._id

    @property
    def enrolled(self) -> bool:
        """Whether it has."""
        return self._id is not None

    def enrol(self, device: DeviceId) -> None:
        """It has enrolled."""
        self._id = device

    @property
    def unlock(self) -> varde.KeyFile:
        """What opens the folder."""
        return varde.KeyFile(self.home / "key")

    @asynccontextmanager
    async def online(self) -> AsyncIterator[Online]:
        """Connect for the block, and take in whatever happens."""
        async with varde.connect(self.home, self.unlock) as client, trio.open_nursery() as nursery:
            inbox = Inbox()
            nursery.start_soon(_collect_events, client, inbox)
            yield Online(client, inbox)
            nursery.cancel_scope.cancel()


@dataclass(slots=True)
class Person:
    """One account. The profile is the address others write to."""

    name: str
    email: str
    devices: dict[str, Device]
    account: AccountId | None = None
    profile: ProfileId | None = None
    phrase: str = field(default="", repr=False)

    @property
    def address(self) -> ProfileId:
        """Whom others write to."""
        assert self.profile is not None, f"{self.name} has not signed up yet"
        return self.profile


@dataclass(slots=True)
class SignUps:
    """Where people sign up: the API's address and the folder its letters lie in."""

    api_url: str
    outbox: Path
    _seen: set[Path] = field(default_factory=set)

    async def sign_up(self, person: Person) -> None:
        """Make the account, with the person's first device."""
        device = next(iter(person.devices.values()))
        done = await varde.sign_up(
            device.home, device.unlock, api_url=self.api_url, email=person.email, code=await self._code(person)
        )
        assert done.recovery_phrase is not None
        device.enrol(done.device)
        person.account, person.profile, person.phrase = done.account, done.profiles[0].id, done.recovery_phrase

    async def log_in(self, person: Person, device: Device) -> None:
        """Make a further device."""
        done = await varde.log_in(
            device.home,
            device.unlock,
            api_url=self.api_url,
            email=person.email,
            code=await self._code(person),
            recovery_phrase=person.phrase,
        )
        device.enrol(done.device)

    async def _code(self, person: Person) -> str:
        await varde.request_code(self.api_url, person.email)
        return await wait_code(self.outbox, person.email, self._seen)


def make_person(homes: Path, name: str, devices: tuple[str, ...]) -> Person:
    """Invent somebody who has not signed up yet."""
    return Person(
        name,
        f"{name}@demo.example.org",
        {device: Device(f"{name}'s {device}", homes / f"{name}-{device}") for device in devices},
    )


async def _collect_events(client: varde.Client, inbox: Inbox) -> None:
    try:
        async for event in client.events():
            inbox.put(event)
    except varde.Ended as end:
        inbox.end(end)
