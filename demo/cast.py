"""The people of the story and their devices: each device is the real SDK over a folder of its own.

What they do is in the chapters.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

import varde
from demo.inbox import Inbox
from demo.outbox import wait_code
from varde_contract.ids import AccountId, DeviceId, ProfileId

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
            nursery.start_soon(_take_in, client, inbox)
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
class Registry:
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


async def _take_in(client: varde.Client, inbox: Inbox) -> None:
    try:
        async for event in client.events():
            inbox.put(event)
    except varde.Ended as end:
        inbox.end(end)
