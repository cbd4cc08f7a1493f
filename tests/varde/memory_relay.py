"""Whole clients around a relay in memory that a test can make misbehave: real senders, receivers and stores."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from typing import NamedTuple, TypeVar, cast

import trio
from msgspec import Struct
from trio.testing import wait_all_tasks_blocked

from tests.ids import id_of
from tests.varde.endpoints import NOW, Account, Endpoint, SimulatedConversation
from tests.varde.fake_log import FakeLog
from tests.varde.fake_rest import FakeRest
from varde.client import Client
from varde.connection import Connection
from varde.conversation import Conversation
from varde.errors import Ended, VardeError
from varde.event_stream import EventIterator, EventStream
from varde.events import Event, Message
from varde.identity import Identity, Profile
from varde.reconnector import ConnectionListener
from varde.rest import Rest
from varde.services import Services
from varde.store import Store
from varde.tasks import ClientTasks, put_together
from varde.transparency import Transparency
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.ids import ConversationId, DeviceId, EpochId, MessageId, ProfileId, SessionId
from varde_contract.people import ProfileType
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.people import PrekeyClaim
from varde_contract.rest.talk import NewMessage
from varde_contract.talk import ConversationKind
from varde_contract.transparency.entry import Entry

ORIGIN = "https://varde.example"
"""What links of the clients are addressed to."""


class Stored(NamedTuple):
    """One number of a conversation."""

    seq: int
    sender: DeviceId
    frame: f.Send
    part: bool = False


class MemoryRelay:
    """A relay and an API for the parties of some tables. Everything a client says to it is in `heard`."""

    def __init__(self, *talks: SimulatedConversation) -> None:
        self.talks = {talk.conversation: talk for talk in talks}
        self.log: defaultdict[ConversationId, list[Stored]] = defaultdict(list)
        self.transparency = FakeLog()
        self.other_logs: dict[DeviceId, FakeLog] = {}
        """For devices that are shown another log than the rest."""
        self.connections: dict[DeviceId, MemoryConnection] = {}
        self.received: list[tuple[DeviceId, Struct]] = []
        self.claims: list[PrekeyClaim] = []
        self.asked_for: list[ProfileId] = []
        """Whose openings were asked for."""
        self.lists: Callable[[Account], Sequence[bytes]] = lambda account: account.signed
        """The lists that the API shows of an account."""
        self.strangers: list[Endpoint] = []
        """Who can be written to, and is in no conversation."""
        self.by_rest: list[NewMessage] = []
        self.confirmed: dict[tuple[ConversationId, DeviceId], int] = {}
        self.epochs: list[tuple[EpochId, dict[ConversationId, int]]] = [(EpochId(id_of(99)), {})]
        """Newest first, with what was kept when each began."""
        self.refuse: Callable[[f.Send], f.RefusedFrame | None] = lambda _: None
        """Asked before each send is stored: refuse it."""
        self.takes_all = False
        """Whether a send for another roster than the newest is stored."""
        self.drop: Callable[[Struct], bool] = lambda _: False
        """Asked for each frame on its way to a client: drop it."""
        self.alter: Callable[[DeviceId, Struct], Sequence[Struct]] = lambda _, frame: (frame,)
        """Asked for each frame on its way to a client: what comes in its place."""
        self.takes_back = False
        """Whether it lost something, and takes it back from who holds it."""
        self.more = False
        """Whether there are more conversations than a Welcome holds."""
        self.rest_error: VardeError | None = None
        """What every REST call raises."""
        self._send, self._receive = trio.open_memory_channel[Callable[[], None]](float("inf"))

    def publish_lists(self) -> None:
        """Put what is new of everybody's device lists into the logs."""
        for log in (self.transparency, *self.other_logs.values()):
            known = {(entry.account, entry.number) for entry in log.entries}
            for account in {each.account for talk in self.talks.values() for each in talk.everybody}:
                for number, signed in enumerate(account.signed, start=1):
                    if (account.person.account, number) not in known:
                        log.entries.append(Entry(account.person.account, number, sha256(signed).digest()))

    async def run(self) -> None:
        """Put frames through, one after the other."""
        async for step in self._receive:
            step()

    def attach(self, device: DeviceId) -> "MemoryConnection":
        """A client connects."""
        self.connections[device] = MemoryConnection(self, device)
        return self.connections[device]

    def cut(self, device: DeviceId) -> None:
        """A client's connection breaks, if it has one."""
        if device in self.connections:
            self.connections.pop(device).close()

    def handle(self, device: DeviceId, frame: Struct) -> None:
        """Handle a frame of a client in its turn."""
        self.received.append((device, frame))
        (taken,) = codec.decode_client_frames(codec.pack([codec.encode_frame(frame)]))
        self._send.send_nowait(lambda: self._handle(device, taken))

    def deliver(self, device: DeviceId, *frames: Struct) -> None:
        """Send frames to a client, if it is connected by then."""
        delivered = [each for frame in frames if not self.drop(frame) for each in self.alter(device, frame)]

        def deliver_now() -> None:
            if device in self.connections and delivered:
                self.connections[device].deliver(cast("list[f.ServerFrame]", delivered))

        self._send.send_nowait(deliver_now)

    def change(self, talk: SimulatedConversation) -> None:
        """Send `changed` for the roster to every endpoint."""
        for endpoint in talk.endpoints:
            self.deliver(endpoint.id, f.Changed(f.ChangeKind.DEVICES, talk.conversation, talk.version))

    def frames_of(self, kind: type[Struct]) -> list[Struct]:
        """The frames of one kind that clients sent."""
        return [frame for _, frame in self.received if isinstance(frame, kind)]

    def _handle(self, device: DeviceId, frame: Struct) -> None:  # noqa: C901 - one row for each frame
        match frame:
            case f.Join():
                for talk in self.talks.values():
                    if device in {endpoint.id for endpoint in talk.endpoints}:
                        self._join(device, talk)
            case f.Send():
                if (refused := self.store(device, frame)) is not None:
                    self.deliver(device, refused)
            case f.Sync():
                self._deliver_log(device, self.talks[frame.conversation], frame.from_seq, frame.limit)
            case f.Delivered():
                self.confirmed[frame.conversation, device] = frame.upto
            case f.Read():
                talk = self.talks[frame.conversation]
                for endpoint in talk.endpoints:
                    self.deliver(endpoint.id, f.ReadBy(frame.conversation, frame.profile, frame.upto))
            case f.MalformedFrame(about, subject, detail):
                self.deliver(device, f.RefusedFrame(about, subject, RefusalCode.MALFORMED, detail))
            case _:
                pass

    def restore(self, heads: dict[ConversationId, int]) -> None:
        """Put back a copy of when these were the heads: everything after them is lost, and everybody is cut."""
        for conversation, head in heads.items():
            del self.log[conversation][head:]
        for key, upto in self.confirmed.items():
            self.confirmed[key] = min(upto, heads.get(key[0], upto))
        self.epochs.insert(0, (EpochId(id_of(len(self.epochs) + 100)), dict(heads)))
        for device in list(self.connections):
            self.cut(device)

    def _join(self, device: DeviceId, talk: SimulatedConversation) -> None:
        upto = self.confirmed.setdefault((talk.conversation, device), 0)
        head = len(self.log[talk.conversation])
        own = [each.seq for each in self.log[talk.conversation] if each.sender == device and each.seq > upto]
        epochs = tuple(f.EpochHead(epoch, heads.get(talk.conversation, 0)) for epoch, heads in self.epochs)
        joined = f.Joined(talk.conversation, upto + 1, head, talk.version, max(own, default=0), epochs)
        self.deliver(device, joined)
        self._deliver_log(device, talk, upto + 1, head)

    def store(
        self, device: DeviceId, frame: f.Send, *, part: bool = False, by_rest: bool = False
    ) -> f.RefusedFrame | None:
        """Store a send, ack it unless that is for the API to do, and give it to the members; or return why not."""
        refused = self.refuse(frame) or self._check(device, frame, part=part)
        if refused is not None:
            return refused
        log = self.log[frame.conversation]
        known = [each for each in log if (each.sender, each.frame.client_id) == (device, frame.client_id)]
        if not known:
            log.append(Stored(len(log) + 1, device, frame, part))
        stored = (known or log[-1:])[0]
        if not by_rest:
            self.deliver(device, self._ack(stored))
        if not known:
            for endpoint in self.talks[frame.conversation].endpoints:
                self.deliver(endpoint.id, self._as_seen_by(endpoint.id, stored))
        return None

    def _check(self, device: DeviceId, frame: f.Send, *, part: bool) -> f.RefusedFrame | None:
        talk = self.talks[frame.conversation]
        current = {endpoint.id for endpoint in talk.endpoints} - {device}
        given = current if frame.devices is None else set(frame.devices)
        fits = given <= current if part else given == current
        if self.takes_all or (fits and frame.roster_version == talk.version):
            return None
        stale = StaleDevices(talk.version, tuple(sorted(current - given)), tuple(sorted(given - current)))
        return refused(frame, RefusalCode.STALE_DEVICES, stale=stale)

    def _deliver_log(self, device: DeviceId, talk: SimulatedConversation, start: int, limit: int) -> None:
        for stored in self.log[talk.conversation][start - 1 : start - 1 + limit]:
            self.deliver(device, self._as_seen_by(device, stored))

    def _as_seen_by(self, device: DeviceId, stored: Stored) -> Struct:
        frame = stored.frame
        if stored.sender == device:
            return f.Gap(frame.conversation, stored.seq, stored.seq, f.GapReason.OWN)
        sealed = frame.group if frame.devices is None else frame.devices.get(device)
        if sealed is None:
            why = f.GapReason.NOT_FOR_YOU if stored.part else f.GapReason.BEFORE_YOU
            return f.Gap(frame.conversation, stored.seq, stored.seq, why)
        return f.New(
            conversation=frame.conversation,
            seq=stored.seq,
            message=MessageId(id_of(stored.seq)),
            client_id=frame.client_id,
            sender_profile=frame.profile,
            sender_device=stored.sender,
            time=NOW,
            ciphertext=sealed,
        )

    def _ack(self, stored: Stored) -> f.Ack:
        frame = stored.frame
        return f.Ack(frame.client_id, frame.conversation, MessageId(id_of(stored.seq)), stored.seq, NOW)


class MemoryConnection:
    """What `varde.connection.Connection` is to a client."""

    def __init__(self, relay: MemoryRelay, device: DeviceId) -> None:
        limits, epoch = f.ServerLimits(1, 1, 1, 1), relay.epochs[0][0]
        self.welcome = f.Welcome(SessionId(id_of(1)), NOW, 25_000, limits, (), relay.more, epoch)
        self._relay = relay
        self._device = device
        self._closed = False
        self._send, self.incoming = trio.open_memory_channel[list[f.ServerFrame]](float("inf"))

    def deliver(self, frames: list[f.ServerFrame]) -> None:
        """The relay says something, to nobody if the client is gone."""
        with suppress(trio.BrokenResourceError):
            self._send.send_nowait(frames)

    def close(self) -> None:
        """The connection breaks."""
        self._closed = True
        self._send.close()

    def send(self, frame: Struct) -> None:
        """Say something; nobody hears it once the connection is broken."""
        if not self._closed:
            self._relay.handle(self._device, frame)

    def confirm(self, conversation: ConversationId, upto: int) -> None:
        """Confirm something."""
        self._relay.handle(self._device, f.Delivered(conversation, upto))


class MemoryConnector:
    """What `varde.reconnector.Reconnector` is to a client: connects at once, and again when it was cut."""

    def __init__(self, relay: MemoryRelay, device: DeviceId, listener: ConnectionListener) -> None:
        self._relay = relay
        self._device = device
        self._listener = listener

    async def run(self) -> VardeError:
        """Connect again and again."""
        while True:
            line = self._relay.attach(self._device)
            self._listener.on_connected(cast("Connection", line))
            async with line.incoming:
                async for frames in line.incoming:
                    self._listener.on_frames(frames)
            self._listener.on_disconnected("cut", 0)

    def reconnect(self) -> None:
        """See `varde.tasks.Connector`: it waits for nothing."""

    async def aclose(self) -> None:
        """Nothing to say."""


@asynccontextmanager
async def open_client(relay: MemoryRelay, endpoint: Endpoint) -> AsyncIterator[Client]:
    """A running client of a party for the block. Its store stays with the party."""
    services = make_services(relay, endpoint)
    async with trio.open_nursery() as nursery:
        ClientTasks(services, nursery, lambda listener: MemoryConnector(relay, endpoint.id, listener))
        yield Client(services)
        services.outbox.close(Ended("the desk was left"))
        nursery.cancel_scope.cancel()


def make_services(relay: MemoryRelay, endpoint: Endpoint) -> Services:
    """A client over a party's store and keys."""
    store: Store = endpoint.store
    me = Identity(endpoint.person.account, endpoint.id, (Profile(endpoint.person.profile, ProfileType.PRIVAT),))
    stream = EventStream(store)
    rest = cast("Rest", FakeRest(relay, endpoint))
    endpoint.learn(endpoint.account)
    log = relay.other_logs.get(endpoint.id, relay.transparency)
    transparency = Transparency(store, log, stream.publish, log.now_ms)
    return put_together(me, store, endpoint.keychain, rest, stream, transparency, ORIGIN)


def refused(
    frame: f.Send, code: RefusalCode, *, retry_after_ms: int | None = None, stale: StaleDevices | None = None
) -> f.RefusedFrame:
    """A refusal of a send."""
    return f.RefusedFrame(f.tag_of(f.Send), frame.client_id, code, "no", retry_after_ms, stale)


H = TypeVar("H", bound=Event)


class ConversationClients:
    """A table with its relay and the clients around it."""

    def __init__(self, relay: MemoryRelay, talk: SimulatedConversation, clients: Mapping[Endpoint, Client]) -> None:
        self.relay = relay
        self.talk = talk
        self.clients = clients

    def __getitem__(self, endpoint: Endpoint) -> Conversation:
        """The conversation as one party has it."""
        return self.clients[endpoint].conversation(self.talk.conversation)

    def messages(self, endpoint: Endpoint) -> EventIterator[Message]:
        """A new iteration over the conversation."""
        return aiter(self[endpoint])


@asynccontextmanager
async def open_clients(
    kind: ConversationKind,
    *endpoints: Endpoint,
    offline: tuple[Endpoint, ...] = (),
    logs: Mapping[DeviceId, FakeLog] | None = None,
) -> AsyncIterator[ConversationClients]:
    """Clients of these parties in one conversation, connected but for those that are absent."""
    talk = SimulatedConversation(kind, *endpoints)
    relay = MemoryRelay(talk)
    relay.other_logs.update(logs or {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        async with AsyncExitStack() as stack:
            present = [endpoint for endpoint in endpoints if endpoint not in offline]
            clients = {endpoint: await stack.enter_async_context(open_client(relay, endpoint)) for endpoint in present}
            await wait_all_tasks_blocked()
            yield ConversationClients(relay, talk, clients)
        nursery.cancel_scope.cancel()


async def texts(messages: EventIterator[Message], count: int) -> list[str]:
    """The next texts of a conversation."""
    return [(await anext(messages)).text for _ in range(count)]


async def first(events: EventIterator[Event], kind: type[H]) -> H:
    """The next event of a kind."""
    while True:
        event = await anext(events)
        if isinstance(event, kind):
            return event
