"""Whole clients at one table: real lanes, receivers and stores, and a relay in memory that a test can make
misbehave.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import NamedTuple, cast
from uuid import UUID

import trio
from msgspec import Struct

from tests.varde.parties import NOW, Party, Table
from varde.client import Client
from varde.connecting import Running
from varde.errors import Ended, Refusal, VardeError
from varde.line import Line
from varde.link import Listening
from varde.me import Me, Profile
from varde.post import Post
from varde.rest import Rest
from varde.rosters import Rosters
from varde.services import Services
from varde.store import Store
from varde.stream import Stream
from varde_contract import frames as f
from varde_contract.ids import ConversationId, DeviceId, MessageId, SessionId
from varde_contract.refusals import RefusalCode, StaleDevices
from varde_contract.rest.conversations import ConversationView, SenderView
from varde_contract.rest.devices import ClaimedKeys, PrekeyClaim, PrekeyCount, PrekeyUpload
from varde_contract.rest.messages import MessageStored, NewMessage
from varde_contract.rest.profiles import ProfileType


class Stored(NamedTuple):
    """One number of a conversation."""

    seq: int
    sender: DeviceId
    frame: f.Send


class MemoryRelay:
    """A relay and an API for the parties of some tables. Everything a client says to it is in `heard`."""

    def __init__(self, *tables: Table) -> None:
        self.tables = {table.conversation: table for table in tables}
        self.log: defaultdict[ConversationId, list[Stored]] = defaultdict(list)
        self.lines: dict[DeviceId, MemoryLine] = {}
        self.heard: list[tuple[DeviceId, Struct]] = []
        self.claims: list[PrekeyClaim] = []
        self.asked_for: list[DeviceId] = []
        self.sender_view: Callable[[Table, DeviceId], SenderView] = Table.sender
        """What the API says of a device that wrote."""
        self.by_rest: list[NewMessage] = []
        self.confirmed: dict[tuple[ConversationId, DeviceId], int] = {}
        self.judge: Callable[[f.Send], f.RefusedFrame | None] = lambda _: None
        """Asked before each send is stored: refuse it."""
        self.lose: Callable[[Struct], bool] = lambda _: False
        """Asked for each frame on its way to a client: drop it."""
        self.away: VardeError | None = None
        """What every REST call raises."""
        self._send, self._receive = trio.open_memory_channel[Callable[[], None]](float("inf"))

    async def run(self) -> None:
        """Put frames through, one after the other."""
        async for step in self._receive:
            step()

    def attach(self, device: DeviceId) -> "MemoryLine":
        """A client connects."""
        self.lines[device] = MemoryLine(self, device)
        return self.lines[device]

    def cut(self, device: DeviceId) -> None:
        """A client's connection breaks, if it has one."""
        if device in self.lines:
            self.lines.pop(device).hang_up()

    def hear(self, device: DeviceId, frame: Struct) -> None:
        """A client said something: it is dealt with in its turn."""
        self.heard.append((device, frame))
        self._send.send_nowait(lambda: self._deal(device, frame))

    def tell(self, device: DeviceId, *frames: Struct) -> None:
        """Say something to a client, if it is there by then."""
        kept = [frame for frame in frames if not self.lose(frame)]

        def put_through() -> None:
            if device in self.lines and kept:
                self.lines[device].put_through(cast("list[f.ServerFrame]", kept))

        self._send.send_nowait(put_through)

    def change(self, table: Table) -> None:
        """Tell everybody that the roster moved."""
        for party in table.parties:
            self.tell(party.id, f.Changed(f.ChangeKind.DEVICES, table.conversation, table.version))

    def said(self, kind: type[Struct]) -> list[Struct]:
        """Everything of one kind that clients said."""
        return [frame for _, frame in self.heard if isinstance(frame, kind)]

    def _deal(self, device: DeviceId, frame: Struct) -> None:
        match frame:
            case f.Join():
                for table in self.tables.values():
                    if device in {party.id for party in table.parties}:
                        self._join(device, table)
            case f.Send():
                self._store(device, frame)
            case f.Sync():
                self._tell_log(device, self.tables[frame.conversation], frame.from_seq, frame.limit)
            case f.Delivered():
                self.confirmed[frame.conversation, device] = frame.upto
            case f.Read():
                table = self.tables[frame.conversation]
                for party in table.parties:
                    self.tell(party.id, f.ReadBy(frame.conversation, frame.profile, frame.upto))
            case _:
                pass

    def _join(self, device: DeviceId, table: Table) -> None:
        upto = self.confirmed.setdefault((table.conversation, device), 0)
        head = len(self.log[table.conversation])
        self.tell(device, f.Joined(table.conversation, upto + 1, head, table.version))
        self._tell_log(device, table, upto + 1, head)

    def _store(self, device: DeviceId, frame: f.Send) -> None:
        refused = self.judge(frame) or self._check(device, frame)
        if refused is not None:
            self.tell(device, refused)
            return
        log = self.log[frame.conversation]
        known = [each for each in log if (each.sender, each.frame.client_id) == (device, frame.client_id)]
        if not known:
            log.append(Stored(len(log) + 1, device, frame))
        stored = (known or log[-1:])[0]
        self.tell(device, self._ack(stored))
        if not known:
            for party in self.tables[frame.conversation].parties:
                self.tell(party.id, self._as_seen_by(party.id, stored))

    def _check(self, device: DeviceId, frame: f.Send) -> f.RefusedFrame | None:
        table = self.tables[frame.conversation]
        current = {party.id for party in table.parties} - {device}
        given = current if frame.devices is None else set(frame.devices)
        if given == current and (frame.devices is not None or frame.roster_version == table.version):
            return None
        stale = StaleDevices(table.version, tuple(sorted(current - given)), tuple(sorted(given - current)))
        return refused(frame, RefusalCode.STALE_DEVICES, stale=stale)

    def _tell_log(self, device: DeviceId, table: Table, start: int, limit: int) -> None:
        for stored in self.log[table.conversation][start - 1 : start - 1 + limit]:
            self.tell(device, self._as_seen_by(device, stored))

    def _as_seen_by(self, device: DeviceId, stored: Stored) -> Struct:
        frame = stored.frame
        if stored.sender == device:
            return f.Gap(frame.conversation, stored.seq, stored.seq, f.GapReason.OWN)
        sealed = frame.group if frame.devices is None else frame.devices.get(device)
        if sealed is None:
            return f.Gap(frame.conversation, stored.seq, stored.seq, f.GapReason.BEFORE_YOU)
        return f.New(
            conversation=frame.conversation,
            seq=stored.seq,
            message=MessageId(UUID(int=stored.seq)),
            client_id=frame.client_id,
            sender_profile=frame.profile,
            sender_device=stored.sender,
            time=NOW,
            sealed=sealed,
        )

    def _ack(self, stored: Stored) -> f.Ack:
        frame = stored.frame
        return f.Ack(frame.client_id, frame.conversation, MessageId(UUID(int=stored.seq)), stored.seq, NOW)


class Directory:
    """The part of `varde.rest.Rest` that a running client uses, over the relay's tables."""

    def __init__(self, relay: MemoryRelay, device: DeviceId) -> None:
        self._relay = relay
        self._device = device

    async def conversation(self, conversation: ConversationId) -> ConversationView:
        """The roster now."""
        await self._answer()
        return self._relay.tables[conversation].view

    async def sender(self, conversation: ConversationId, device: DeviceId) -> SenderView:
        """A device that wrote in the conversation."""
        await self._answer()
        self._relay.asked_for.append(device)
        if device not in {each.sender for each in self._relay.log[conversation]}:
            raise Refusal.of(RefusalCode.NOT_FOUND, "no")
        return self._relay.sender_view(self._relay.tables[conversation], device)

    async def claim_prekeys(self, claim: PrekeyClaim) -> ClaimedKeys:
        """Prekeys of the table's parties."""
        await self._answer()
        self._relay.claims.append(claim)
        return self._relay.tables[claim.conversation].claim(claim.devices)

    async def send(self, new: NewMessage) -> MessageStored:
        """The send without a socket."""
        await self._answer()
        self._relay.by_rest.append(new)
        frame = f.Send(new.client_id, new.conversation, new.profile, new.roster_version, new.group, new.devices)
        self._relay._store(self._device, frame)
        stored = next(each for each in self._relay.log[new.conversation] if each.frame.client_id == new.client_id)
        sent_at = datetime.fromtimestamp(NOW / 1_000, UTC)
        return MessageStored(new.client_id, new.conversation, MessageId(UUID(int=stored.seq)), stored.seq, sent_at)

    async def prekeys(self) -> PrekeyCount:
        """Enough."""
        return PrekeyCount(50, has_fallback=True)

    async def upload_prekeys(self, upload: PrekeyUpload) -> PrekeyCount:
        """Taken and forgotten."""
        return PrekeyCount(len(upload.one_time_keys), has_fallback=True)

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._relay.away is not None:
            raise self._relay.away


class MemoryLine:
    """What `varde.line.Line` is to a client."""

    def __init__(self, relay: MemoryRelay, device: DeviceId) -> None:
        self.welcome = f.Welcome(SessionId(UUID(int=1)), NOW, 25_000, f.ServerLimits(1, 1, 1, 1), (), more=True)
        self._relay = relay
        self._device = device
        self._send, self.incoming = trio.open_memory_channel[list[f.ServerFrame]](float("inf"))

    def put_through(self, frames: list[f.ServerFrame]) -> None:
        """The relay says something, to nobody if the client is gone."""
        with suppress(trio.BrokenResourceError):
            self._send.send_nowait(frames)

    def hang_up(self) -> None:
        """The connection breaks."""
        self._send.close()

    def send(self, frame: Struct) -> None:
        """Say something."""
        self._relay.hear(self._device, frame)

    def confirm(self, conversation: ConversationId, upto: int) -> None:
        """Confirm something."""
        self._relay.hear(self._device, f.Delivered(conversation, upto))


class MemoryLink:
    """What `varde.link.Link` is to a client: connects at once, and again when it was cut."""

    def __init__(self, relay: MemoryRelay, device: DeviceId, listening: Listening) -> None:
        self._relay = relay
        self._device = device
        self._listening = listening

    async def run(self) -> VardeError:
        """Connect again and again."""
        while True:
            line = self._relay.attach(self._device)
            self._listening.up(cast("Line", line))
            async with line.incoming:
                async for frames in line.incoming:
                    self._listening.take(frames)
            self._listening.down("cut", 0)

    async def aclose(self) -> None:
        """Nothing to say."""


@asynccontextmanager
async def open_desk(relay: MemoryRelay, party: Party) -> AsyncIterator[Client]:
    """A running client of a party for the block. Its store stays with the party."""
    services = make_services(relay, party)
    async with trio.open_nursery() as nursery:
        Running(services, nursery, lambda listening: MemoryLink(relay, party.id, listening))
        yield Client(services)
        services.post.close(Ended("the desk was left"))
        nursery.cancel_scope.cancel()


def make_services(relay: MemoryRelay, party: Party) -> Services:
    """A client over a party's store and keys."""
    store: Store = party.store
    me = Me(party.person.account, party.id, (Profile(party.person.profile, ProfileType.PRIVAT),))
    stream = Stream(store)
    rest = cast("Rest", Directory(relay, party.id))
    rosters = Rosters(store, rest, party.keychain.trust, stream.tell)
    return Services(me, store, party.keychain, rest, rosters, stream, Post(store, me, stream))


def refused(
    frame: f.Send, code: RefusalCode, *, retry_after_ms: int | None = None, stale: StaleDevices | None = None
) -> f.RefusedFrame:
    """A refusal of a send."""
    return f.RefusedFrame(f.tag_of(f.Send), frame.client_id, code, "no", retry_after_ms, stale)
