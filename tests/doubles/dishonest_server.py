"""A dishonest server: relay, API and log around honest clients, and its means to lie to them.

They are frames that are hidden, held back, altered or made up, answers of the API that are bent, and another log. The
lies themselves are in `tests.doubles.lies`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from tests.cast import bob as bob_person
from tests.cast import salt_of
from tests.varde.endpoints import NOW, Endpoint
from tests.varde.memory_relay import ConversationClients
from varde.client import Client
from varde.conversation import Conversation
from varde.errors import VardeError
from varde.event_stream import EventIterator
from varde.events import (
    Event,
    ForkedLog,
    Gap,
    HistoryLost,
    TranscriptBroken,
    Undecryptable,
    Unsent,
    Withheld,
)
from varde_contract import frames as f
from varde_contract.ids import DeviceId
from varde_contract.rest.talk import (
    ConversationView,
    MemberView,
    RosterDevice,
)
from varde_contract.talk import ConversationKind, Role

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


class DishonestServer:
    """The server of one conversation. Alice, Bob and Carol are honest; the ghost reads along if anybody lets it."""

    def __init__(
        self, room: ConversationClients, alice: Endpoint, bob: Endpoint, carol: Endpoint, ghost: Endpoint
    ) -> None:
        self.room, self.relay, self.talk = room, room.relay, room.talk
        self.alice, self.bob, self.carol, self.ghost = alice, bob, carol, ghost
        self.noticed: set[object] = set()
        """What honest clients raised or told: a kind of error or event, or the reason of one."""
        self.written: dict[DeviceId, list[str]] = defaultdict(list)
        self.hidden: defaultdict[DeviceId, set[int]] = defaultdict(set)
        self.held: dict[DeviceId, list[f.New]] = {}
        self.clock_ms = NOW
        """What those who write take for the time."""
        self.relay.alter = self._alter

    async def say(self, writer: Endpoint, text: str, conversation: Conversation | None = None) -> None:
        """Let somebody write, who may refuse to."""
        self.written[writer.id].append(text)
        try:
            await (conversation or self.room[writer]).send(text)
        except VardeError as error:
            self.noticed.add(type(error))
        await wait_all_tasks_blocked()

    async def listen(self, events: EventIterator[Event]) -> None:
        """Note what a client tells."""
        try:
            async for event in events:
                match event:
                    case TranscriptBroken():
                        self.noticed.add(event.why)
                    case Undecryptable():
                        self.noticed.add(event.reason)
                    case Gap() | HistoryLost() | ForkedLog() | Withheld() | Unsent():
                        self.noticed.add(type(event))
        except VardeError as error:
            self.noticed.add(type(error))

    def bend(self, reader: Endpoint | Client, call: str, change: Callable[[A], object]) -> None:
        """Answer a client's calls of the API otherwise than is true."""
        client = reader if isinstance(reader, Client) else self.room.clients[reader]
        rest: Any = client._services.rest
        honest = getattr(rest, call)

        async def bent(*asked: object) -> object:
            return change(await honest(*asked))

        setattr(rest, call, bent)

    async def show(self, reader: Endpoint, view: ConversationView) -> None:
        """Show a roster from now on, and say that it is new."""
        self.bend(reader, "conversation", lambda _: view)
        self.relay.deliver(reader.id, f.Changed(f.ChangeKind.DEVICES, self.talk.conversation, view.roster_version))
        await wait_all_tasks_blocked()

    def hide_next(self, reader: Endpoint) -> None:
        """Never give the next message to a reader, whose numbers stay without a gap."""
        self.hidden[reader.id].add(len(self._log) + 1)

    def hold(self, reader: Endpoint) -> list[f.New]:
        """Keep messages for a reader until `release`."""
        self.held[reader.id] = []
        return self.held[reader.id]

    def release(self, reader: Endpoint, frames: Sequence[f.New]) -> None:
        """Deliver what was held back, as numbers in this order."""
        held = self.held.pop(reader.id)
        for seq, frame in enumerate(frames, start=min(each.seq for each in held)):
            self.relay.deliver(reader.id, replace(frame, seq=seq))

    @property
    def view(self) -> ConversationView:
        """The roster as it is, under the next version."""
        return replace(self.talk.view, roster_version=self.talk.version + 1)

    def view_with_ghost(self, version: int) -> ConversationView:
        """Bob with one device more, which is the ghost's."""
        device = RosterDevice(self.ghost.id, bob_person.account, (bob_person.profile,))
        return replace(self.talk.view, roster_version=version, devices=(*self.talk.view.devices, device))

    def view_with_member(self, view: ConversationView) -> ConversationView:
        """The ghost as a member, with everything that an honest one has but a statement."""
        person = self.ghost.person
        member = MemberView(person.profile, person.account, Role.MEMBER, salt_of(person.profile))
        device = RosterDevice(self.ghost.id, person.account, (person.profile,))
        return replace(
            view,
            members=(*view.members, member),
            lists=(*view.lists, self.ghost.account.head),
            devices=(*view.devices, device),
        )

    @property
    def _log(self) -> list[Any]:
        return self.relay.log[self.talk.conversation]

    def _alter(self, device: DeviceId, frame: Struct) -> Sequence[Struct]:
        if isinstance(frame, f.New) and frame.seq in self.hidden[device]:
            return ()
        if isinstance(frame, f.New) and device in self.held:
            self.held[device].append(frame)
            return ()
        if isinstance(frame, f.New | f.Ack):
            return (replace(frame, seq=self._shown_as(device, frame.seq)),)
        if isinstance(frame, f.Gap):
            first, last = self._shown_as(device, frame.from_seq), self._shown_as(device, frame.to_seq)
            return (replace(frame, from_seq=first, to_seq=last),)
        return (frame,)

    def _shown_as(self, device: DeviceId, seq: int) -> int:
        return seq - sum(hidden < seq for hidden in self.hidden[device])
