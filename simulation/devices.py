"""Devices of people: the SDK's client over a store in memory, which is what outlives the process."""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Final, TypeAlias

import trio
from websockets.trio.client import connect as connect_websocket

from simulation.fleet import API_URL, ApiTransport, Fleet
from simulation.observers import Observers
from varde import rest as calls
from varde.client import Client
from varde.connection import Connection
from varde.crypto.root_key import root_key_of
from varde.device import load_device
from varde.enrolment import Enrolment
from varde.errors import VardeError
from varde.events import Event
from varde.http import Http
from varde.identity import Identity
from varde.reconnector import ConnectionListener, Reconnector, dial
from varde.services import Services
from varde.store import Store
from varde.store.database import Database as StoreDatabase
from varde.store.table import StoreCipher
from varde.tasks import ClientTasks, make_services
from varde_contract.exception_groups import locate
from varde_contract.frames import ServerFrame
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.people import ProfileType

MakeConnector: TypeAlias = Callable[[ConnectionListener], Reconnector]
STORE_KEY: Final = bytes(32)
"""A key and no passphrase: Argon2id is slow on purpose, and each device opens its store once a life."""


@dataclass(frozen=True)
class Saved:
    """A device as it can be copied into another simulation."""

    name: str
    person: str
    phrase: str
    store: bytes


@dataclass(eq=False)
class Device:
    """One device. `client` is there while its process runs."""

    name: str
    person: str
    fleet: Fleet
    observers: Observers
    random: Random
    sqlite: sqlite3.Connection = field(default_factory=lambda: sqlite3.connect(":memory:", isolation_level=None))
    phrase: str = ""
    revoked: bool = False
    client: Client | None = None
    ended: VardeError | None = None
    home: str = ""
    """The node that the balancer sends it to, while that is there."""
    node: str = ""
    """The node it connected to last."""
    life: int = 0
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _nursery: trio.Nursery | None = None
    _stop: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.store = Store(StoreDatabase(self.sqlite), StoreCipher(STORE_KEY))

    @cached_property
    def identity(self) -> Identity:
        """Who it is."""
        return load_device(self.store)[1]

    @property
    def id(self) -> DeviceId:
        """Its id."""
        return self.identity.device

    @property
    def profile(self) -> ProfileId:
        """Who others write to."""
        return self.identity.profiles[0].id

    def save(self) -> Saved:
        """Return a copy of what is on its disk."""
        return Saved(self.name, self.person, self.phrase, self.sqlite.serialize())

    async def enrol(self, phrase: str | None = None) -> None:
        """Become the first device of an account, or with its phrase a further one."""
        address = f"{self.person}@example.org"
        async with Http(API_URL, transport=ApiTransport(self.fleet)) as http:
            await calls.request_code(http, address)
            enrolment = Enrolment(self.store, http)
            await enrolment.sign_in(API_URL, address, self.fleet.mail.code_for(address))
            if phrase is None:
                root, types = await enrolment.make_root_key(), [ProfileType.PRIVAT]
            else:
                root, types = root_key_of(phrase), []
                await enrolment.check_root_key(root, phrase)
            profiles = await enrolment.make_profiles(types)
            await enrolment.list_device(root, profiles)
            enrolled = await enrolment.finish(profiles)
            assert enrolled.recovery_phrase is not None
            self.phrase = enrolled.recovery_phrase

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a process of this device, until it stops or crashes."""
        self.life += 1
        self._stop, self.ended = trio.Event(), None
        keys, identity = load_device(self.store)
        with trio.CancelScope() as self._scope:
            try:
                async with Http(API_URL, transport=ApiTransport(self.fleet)) as http:
                    services = make_services(self.store, http, identity)
                    async with trio.open_nursery() as nursery:
                        self._nursery = nursery
                        tasks = WatchedTasks(
                            self,
                            services,
                            nursery,
                            lambda listener: Reconnector(self.store, services.rest, keys, listener, dial=self._dial),
                        )
                        self.client = Client(services)
                        nursery.start_soon(self._read_events, self.client)
                        task_status.started()
                        await self._stop.wait()
                        services.events.mark_all_taken()
                        await tasks.aclose()
                        nursery.cancel_scope.cancel()
            except Exception as surprise:  # noqa: BLE001 - whatever it is, it ends this process and is a finding
                self.observers.fault(f"{self.name} ended with {locate(surprise)}")
        self.client = None

    def crash(self) -> None:
        """The process dies. What its store has committed stays."""
        self.observers.note(f"{self.name} crashes")
        self.client = None
        self._scope.cancel()

    def stop(self) -> None:
        """The process ends in good order."""
        self._stop.set()

    def _dial(self, url: str) -> connect_websocket:
        """Connect to a node that the balancer chooses: its own one, and another at random when that one is away."""
        nodes = sorted(self.fleet.network.listeners)
        if not nodes:
            # As at the balancer's address when nobody is behind it: the client tries again.
            raise ConnectionRefusedError
        stray = self.home not in nodes or self.random.random() < self.observers.options.roam
        self.node = self.random.choice(nodes) if stray else self.home
        return dial(url, self.fleet.network.connect(self.name, self.node))

    async def _read_events(self, client: Client) -> None:
        events = client.events()
        while True:
            try:
                event: Event = await anext(events)
            except VardeError as end:
                self.ended = end
                self.observers.ended(self, end)
                return
            self.observers.shown(self, event)

    def send_soon(self, conversation: ConversationId, text: str) -> None:
        """Have the process write a text, wait until it is acked, and say what became of it."""
        if self.client is not None and self._nursery is not None:
            self.observers.written(self, conversation, text)
            self._nursery.start_soon(self._send, self.client, conversation, text)

    async def _send(self, client: Client, conversation: ConversationId, text: str) -> None:
        try:
            sent = await client.conversation(conversation).send(text)
        except VardeError as fault:
            self.observers.unsent(self, conversation, text, fault)
        else:
            self.observers.acked(self, conversation, text, sent)

    async def do(self, doing: Callable[[Client], Awaitable[object]]) -> bool:
        """Have the process do something that may be refused; whether it was done. It ends with the process."""
        done, succeeded = trio.Event(), list[bool]()

        async def run(client: Client) -> None:
            try:
                await doing(client)
                succeeded.append(True)
            except VardeError as fault:
                self.observers.note(f"{self.name} refused: {fault.code}")
            finally:
                done.set()

        if self.client is None or self._nursery is None:
            return False
        self._nursery.start_soon(run, self.client)
        await done.wait()
        return bool(succeeded)


class WatchedTasks(ClientTasks):
    """The tasks of a client, with an observer between connection and receiver."""

    def __init__(self, device: Device, services: Services, nursery: trio.Nursery, connector: MakeConnector) -> None:
        self._device = device
        super().__init__(services, nursery, connector)

    def on_connected(self, connection: Connection) -> None:
        """Observe, then as always."""
        self._device.observers.connected(self._device)
        super().on_connected(connection)

    def on_frames(self, frames: Sequence[ServerFrame]) -> None:
        """Observe, then as always."""
        self._device.observers.heard(self._device, frames)
        super().on_frames(frames)

    def on_disconnected(self, why: str, retry_in_s: float | None) -> None:
        """Observe, then as always."""
        self._device.observers.disconnected(self._device, why)
        super().on_disconnected(why, retry_in_s)


def load(saved: Saved, fleet: Fleet, observers: Observers, random: Random) -> Device:
    """Return a device with a copy of its disk."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(saved.store)
    return Device(saved.name, saved.person, fleet, observers, random, connection, saved.phrase)
