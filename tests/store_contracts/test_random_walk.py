"""A random walk through all the stores of a conversation, taken by the double and by Postgres in step.

Only a difference between the two fails here, so that a test which passes with the double holds for the database.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.ports import Stores
from domain.talk import model as talk_model
from settings.storage import DatabaseUrl, StorageSettings
from simulation.stores import open_memory_stores
from storage.stores import open_storage
from tests.cast import (
    BIRTH_MS,
    MANY,
    PEOPLE,
    CastDevice,
    enrol,
    open_conversation,
    put_member,
    remove_member,
    revoke,
    set_profiles,
    settle,
)
from tests.store_contracts.messages import client_id, draft
from varde_contract.ids import ConversationId
from varde_contract.people import Policies, Theme
from varde_contract.talk import Role

STEPS = 250
_ACCEPTED = 0.7
RETENTION_MS = 400

Step = Callable[[Stores], Awaitable[Any]]


def _timeless(roster: talk_model.Roster) -> talk_model.Roster:
    """The roster without the times at which its versions were superseded: the database goes by a clock of its own."""
    return replace(roster, superseded_ms=(0,) * len(roster.superseded_ms))


@dataclass
class Walk:
    """What the next step is, by the dice."""

    dice: Random
    talks: list[ConversationId] = field(default_factory=list)
    device: list[CastDevice] = field(default_factory=lambda: [device for person in PEOPLE for device in person.devices])
    now_ms: int = BIRTH_MS
    made: int = 0

    def step(self) -> Step:
        """The next step, to be taken on each of the stores."""
        self.now_ms += self.dice.randrange(20)
        steps = (
            *(self.commit, self.commit, self.commit, self.confirm, self.confirm, self.read, self.read),
            *(self.mark_read, self.set_profiles, self.join, self.leave, self.promote, self.sweep, self.look),
            *(self.revoke, self.enrol, self.claim, self.change_policies, self.find_committed, self.void_tickets),
        )
        return self.dice.choice(steps)()

    def commit(self) -> Step:
        """A batch in which anything may be a duplicate or decided on another roster."""
        drafts = [
            draft(
                self.dice.choice(self.device),
                self.dice.choice(self.talks),
                *self.dice.sample(self.device, self.dice.randrange(4)),
                client=self.dice.randrange(60),
                version=self.dice.randrange(1, 9),
                sealed=self.dice.randbytes(self.dice.randrange(1, 50)),
                sent_ms=self.now_ms,
            )
            for _ in range(self.dice.randrange(12))
        ]

        async def commit(stores: Stores) -> object:
            # Half of them are decided on the roster as it is.
            rosters = await stores.conversations.rosters(self.talks)
            versions = {talk: roster.version for talk, roster in rosters.items()}
            return await stores.journal.commit([_at(each, versions[each.conversation]) for each in drafts])

        return commit

    def find_committed(self) -> Step:
        """Messages that may have been stored, and may have been swept."""
        keys = [
            talk_model.SendKey(talk, device.id, client_id(self.dice.randrange(60)))
            for talk in self.talks
            for device in self.device
        ]
        return lambda stores: stores.journal.find_committed(keys)

    def confirm(self) -> Step:
        """Confirmations of several devices."""
        confirmations = [
            talk_model.Confirmation(
                self.dice.choice(self.talks), self.dice.choice(self.device).id, self.dice.randrange(40)
            )
            for _ in range(self.dice.randrange(8))
        ]
        return lambda stores: stores.mailbox.confirm(confirmations)

    def read(self) -> Step:
        """Pages of any size."""
        sizes = (0, 30, 1_000)
        requests = [
            talk_model.LogRequest(
                device.id, talk, self.dice.randrange(1, 30), self.dice.randrange(1, 20), self.dice.choice(sizes)
            )
            for device in self.device
            for talk in self.talks
        ]
        return lambda stores: stores.mailbox.read(requests)

    def mark_read(self) -> Step:
        """Read marks of members and others."""
        marks = [
            (self.dice.choice(self.talks), self.dice.choice(self.device).model.profiles[0], self.dice.randrange(30))
            for _ in range(5)
        ]
        return lambda stores: stores.mailbox.mark_read(marks)

    def set_profiles(self) -> Step:
        """Another whitelist for a device."""
        device = self.dice.choice(self.device)
        profiles = self.dice.sample(device.model.profiles, self.dice.randrange(3))
        return lambda stores: set_profiles(stores, device.model.account, device.id, profiles, self.now_ms)

    def join(self) -> Step:
        """A member more, on the roster as it is."""
        talk, person = self.dice.choice(self.talks), self.dice.choice(PEOPLE)
        profile, accepted = self.dice.choice((person.profile, person.jobb.id)), self.dice.random() < _ACCEPTED
        return lambda stores: put_member(stores, talk, person, profile=profile, accepted=accepted)

    def leave(self) -> Step:
        """A member less, on the roster as it is."""
        talk, person = self.dice.choice(self.talks), self.dice.choice(PEOPLE)
        profile = self.dice.choice((person.profile, person.jobb.id))
        return lambda stores: remove_member(stores, talk, person, profile=profile)

    def promote(self) -> Step:
        """A member, or another role for one."""
        talk, person = self.dice.choice(self.talks), self.dice.choice(PEOPLE)
        return lambda stores: put_member(stores, talk, person, Role.ADMIN)

    def sweep(self) -> Step:
        """A sweep of everything."""
        return lambda stores: stores.retention.sweep(self.now_ms, retention_ms=RETENTION_MS, limit=MANY)

    def look(self) -> Step:
        """Everything that can be seen of the rosters, and of who stands where."""

        async def look(stores: Stores) -> object:
            found = await stores.conversations.rosters(self.talks)
            rosters = {talk: _timeless(roster) for talk, roster in found.items()}
            seen = [await stores.conversations.view(talk) for talk in self.talks]
            views = [view and replace(view, roster=_timeless(view.roster)) for view in seen]
            lists = [await stores.conversations.list_for(device.id, None, MANY) for device in self.device]
            pages = await stores.conversations.list_many(
                [talk_model.ListRequest(device.id, None, 2) for device in self.device]
            )
            log_heads = await stores.conversations.log_heads(self.talks)
            return rosters, views, lists, pages, log_heads, set(await stores.devices.revocations(0))

        return look

    def revoke(self) -> Step:
        """A device less."""
        device = self.dice.choice(self.device)
        return lambda stores: revoke(stores, device.model.account, device.id, self.now_ms)

    def void_tickets(self) -> Step:
        """Tickets of a device that is there, or was."""
        device, now_ms = self.dice.choice(self.device), self.now_ms - self.dice.randrange(50)
        return lambda stores: stores.devices.void_tickets(device.model.account, device.id, now_ms)

    def enrol(self) -> Step:
        """A device more."""
        self.made += 1
        device = self.dice.choice(PEOPLE).further_device(f"number {self.made}")
        self.device.append(device)
        return lambda stores: enrol(stores, device)

    def claim(self) -> Step:
        """Prekeys of several devices."""
        wanted = [(device.model.account, device.id) for device in self.dice.choices(self.device, k=4)]
        claimer = self.dice.choice(self.device).model.account
        return lambda stores: stores.prekeys.claim(claimer, wanted, now_ms=self.now_ms, window_ms=50, most=3)

    def change_policies(self) -> Step:
        """Other policies for a profile."""
        person, policies = self.dice.choice(PEOPLE), Policies(typing=self.dice.random() < 1 / 2)
        return lambda stores: stores.profiles.replace(person.account, person.profile, Theme.DARK, policies)


def _at(each: talk_model.Draft, version: int) -> talk_model.Draft:
    return each if each.roster_version % 2 else talk_model.Draft(**{**_fields(each), "roster_version": version})


def _fields(each: talk_model.Draft) -> dict[str, Any]:
    return {name: getattr(each, name) for name in each.__struct_fields__}


async def begin(stores: Stores) -> Sequence[ConversationId]:
    """The whole cast in three conversations."""
    await settle(stores)
    return [await open_conversation(stores, *people) for people in (PEOPLE[:2], PEOPLE[1:4], PEOPLE)]


@pytest.mark.parametrize("seed", range(4))
async def test_the_double_and_the_database_never_differ(database_url: str, seed: int) -> None:
    """At every step of the walk both answer the same."""
    walk, double = Walk(Random(seed)), open_memory_stores()  # noqa: S311  dice, not keys
    async with open_storage(StorageSettings(database=DatabaseUrl(database_url), pool_min=1, pool_max=2)) as stores:
        walk.talks += await begin(double)
        assert await begin(stores) == walk.talks
        for number in range(STEPS):
            step = walk.step()
            assert (number, await step(double)) == (number, await step(stores)), step.__qualname__
