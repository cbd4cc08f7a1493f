"""Who watches a simulation: a model of its own of what was promised, and every violation of it.

The model is fed by what the database carried out (in that order), by what the SDK handed to the application, and by
what came over the wire. It never asks the product what should be: who may read a message is computed here, from the
statements and device lists alone.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from domain.people.model import ListChange
from domain.people.ports import ListFault
from domain.talk.model import Committed, Draft, NewStatement
from domain.talk.ports import ChainChange, NewRoster
from simulation.determinism import at
from simulation.options import Options
from varde import events as e
from varde.errors import Ended, VardeError
from varde_contract import frames as f
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId
from varde_contract.membership import Member

if TYPE_CHECKING:
    from simulation.devices import Device

GRACE: Final = 12.0
"""Seconds for which a send may be for the roster before the last one (ten, and the time on its way). Who came in them
may be unable to open it."""
BROKEN: Final = (e.TranscriptBroken, e.ForkedLog, e.Withheld, e.RootKeyChange)
"""What no honest server causes, but for a transcript that a device begins anew."""


@dataclass
class Entry:
    """One number of a conversation, as it was stored. A statement has no client id here."""

    device: DeviceId
    client_id: ClientId | None
    audience: frozenset[DeviceId]
    at: float
    newcomers: frozenset[DeviceId] = frozenset()
    """Those of the audience who came so shortly before that it may be closed to them."""
    part: bool = False
    """Whether the audience is only some of who was there."""


@dataclass
class Talk:
    """One conversation in the model."""

    name: str
    members: dict[ProfileId, Member]
    log: list[Entry] = field(default_factory=list)
    since: dict[DeviceId, float] = field(default_factory=dict)
    """From when on each device is one of its devices."""
    known: set[tuple[DeviceId, ClientId]] = field(default_factory=set)

    def stayed(self, device: DeviceId, entry: Entry) -> bool:
        """Whether a device has been here since a number was stored: who left and came back has lost what waited."""
        return self.since.get(device, math.inf) <= entry.at


@dataclass
class Text:
    """One text that somebody wrote. `seq` once it is known."""

    text: str
    sender: "Device"
    conversation: ConversationId
    excused: bool = False
    """Whether its sender was told that it will not be sent."""
    acked: bool = False


@dataclass
class Reader:
    """What one device was shown, and what came over its connection."""

    last: dict[ConversationId, int] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    latest: tuple[int, str] = (0, "")
    """In which life, and what, it was handed last: after a crash it is handed that once more."""
    wire: dict[ConversationId, int] = field(default_factory=dict)


class Observers:
    """The model, the log of what happened, and the violations."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lines: list[str] = []
        self.violations: list[str] = []
        self.talks: dict[ConversationId, Talk] = {}
        self.devices: dict[DeviceId, Device] = {}
        self.texts: dict[str, Text] = {}
        self.counts: Counter[str] = Counter()
        self.restored = False
        self.at_first_fault: Callable[[], None] = lambda: None
        self._receives: dict[DeviceId, frozenset[ProfileId]] = {}
        self._readers: defaultdict[DeviceId, Reader] = defaultdict(Reader)

    def note(self, line: str) -> None:
        """Write a line into the log."""
        self.lines.append(f"{at(trio.current_time())} {line}")

    def fault(self, what: str) -> None:
        """Note a violation."""
        self.violations.append(what)
        self.at_first_fault()
        self.note(f"VIOLATION {what}")

    @property
    def digest(self) -> str:
        """The hash of everything that happened, in order."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]

    # What the database carried out.

    def stored(self, method: str, arguments: tuple[Any, ...], result: Any) -> None:
        """Follow a call of a store that was carried out."""
        match method, arguments:
            case "open", (NewRoster() as new,) if result[1]:
                self.talks[new.conversation] = Talk(f"c{len(self.talks)}", dict(new.members))
                self._add_statements(new.conversation, new.statements)
            case "extend", (ChainChange() as change,) if result is not None:
                self.talks[change.conversation].members = dict(change.members)
                self._add_statements(change.conversation, change.statements)
            case "apply", (ListChange() as change,) if not isinstance(result, ListFault):
                self._change_devices(change)
            case "commit", (drafts,):
                for draft, outcome in zip(drafts, result, strict=True):
                    if isinstance(outcome, Committed) and not outcome.duplicate:
                        self._committed(draft, outcome)
            case "confirm", (confirmations,):
                for each in confirmations:
                    self._confirmed(each.conversation, each.device, each.upto)

    def adopt(self, before: "Observers") -> None:
        """Go on from where the model of an earlier simulation was."""
        self._receives = dict(before._receives)  # noqa: SLF001 - its own kind
        for conversation, talk in before.talks.items():
            # Everybody is there since long ago: nobody counts as a newcomer, to whom a message may be closed.
            self.talks[conversation] = Talk(
                talk.name, dict(talk.members), list(talk.log), dict.fromkeys(talk.since, -2 * GRACE), set(talk.known)
            )

    def restore(self, heads: dict[ConversationId, int]) -> None:
        """The database is as it was when these were the heads."""
        self.restored = True
        for conversation, head in heads.items():
            talk = self.talks[conversation]
            del talk.log[head:]
            talk.known = {(each.device, each.client_id) for each in talk.log if each.client_id is not None}
        # Numbers behind the backup's heads are given out once more, so each device may see them again.
        for reader in self._readers.values():
            reader.last.clear()

    def is_revoked(self, device: DeviceId) -> bool:
        """Whether the database carried the device's revocation out."""
        return device not in self._receives

    def audience(self, talk: Talk) -> frozenset[DeviceId]:
        """Return the devices that receive in a conversation now."""
        accepted = {profile for profile, member in talk.members.items() if member.accepted}
        return frozenset(device for device, profiles in self._receives.items() if profiles & accepted)

    def _moved(self) -> None:
        for talk in self.talks.values():
            now = self.audience(talk)
            talk.since = {device: talk.since.get(device, trio.current_time()) for device in sorted(now)}

    def _change_devices(self, change: ListChange) -> None:
        for device in (*change.added, *change.changed):
            self._receives[device.id] = frozenset(device.profiles)
        for gone in change.revoked:
            del self._receives[gone]
        self._moved()

    def _add_statements(self, conversation: ConversationId, statements: Sequence[NewStatement]) -> None:
        self._moved()
        talk = self.talks[conversation]
        talk.log += [Entry(each.device, None, frozenset(), trio.current_time()) for each in statements]
        self.note(f"{talk.name} has {len(statements)} statements up to {len(talk.log)}")

    def _committed(self, draft: Draft, outcome: Committed) -> None:
        talk, sender = self.talks[draft.conversation], self._name(draft.device)
        audience = self.audience(talk)
        self.counts["commits"] += 1
        self.note(f"{talk.name} {outcome.seq} from {sender}")
        if outcome.seq != len(talk.log) + 1:
            self.fault(f"{talk.name}: number {outcome.seq} follows {len(talk.log)}")
        if draft.device not in audience:
            self.fault(f"{talk.name} {outcome.seq}: stored a message of {sender}, who is not in it")
        if (draft.device, draft.client_id) in talk.known:
            self.fault(f"{talk.name} {outcome.seq}: stored the same message of {sender} twice")
        others = audience - {draft.device}
        if draft.part:
            # Whom it does not name is in no audience of it, and everybody who is shown the message has had the key.
            strangers, others = set(draft.devices or ()) - others, others & frozenset(draft.devices or ())
            if strangers or not self.options.parts:
                self.fault(f"{talk.name} {outcome.seq}: a part for {self._names(strangers)}")
        elif draft.devices is not None and set(draft.devices) != others:
            self.fault(f"{talk.name} {outcome.seq}: encrypted for {self._names(set(draft.devices) ^ others)}")
        recent = trio.current_time() - GRACE
        newcomers = frozenset(each for each in others if talk.since[each] > recent)
        talk.known.add((draft.device, draft.client_id))
        talk.log.append(Entry(draft.device, draft.client_id, others, trio.current_time(), newcomers, draft.part))

    def _confirmed(self, conversation: ConversationId, device: DeviceId, upto: int) -> None:
        found = self.devices.get(device)
        held = None if found is None else found.store.conversations.upto(conversation)
        if found is not None and upto > (held or 0):
            self.fault(f"{found.name} confirmed {upto} of {self.talks[conversation].name} and holds {held}")

    # What devices say and are told.

    def written(self, device: "Device", conversation: ConversationId, text: str) -> None:
        """A device is given a text to send."""
        self.texts[text] = Text(text, device, conversation)
        self.note(f"{device.name} writes {text}")

    def acked(self, device: "Device", conversation: ConversationId, text: str, sent: e.Sent) -> None:
        """A device was told that its text is stored."""
        talk = self.talks[conversation]
        self.texts[text].acked = True
        self.counts["acked"] += 1
        self.note(f"{device.name} acked {text} as {talk.name} {sent.seq}")
        entry = talk.log[sent.seq - 1] if sent.seq <= len(talk.log) else None
        # After a restore the number may be another message's, and this one be sent again under a new number.
        if not self.restored and (entry is None or (entry.device, entry.client_id) != (device.id, sent.client_id)):
            self.fault(f"{device.name}: {text} was acked as {talk.name} {sent.seq} and is not stored there")

    def unsent(self, device: "Device", conversation: ConversationId, text: str, fault: VardeError) -> None:
        """A device was told that its text will not be sent. An end of the client only stops the waiting."""
        self.note(f"{device.name} unsent {text}: {fault.code} {fault}")
        if isinstance(fault, Ended):
            return
        self.texts[text].excused = True
        talk = self.talks[conversation]
        if talk.since.get(device.id, float("inf")) < trio.current_time() - GRACE and not device.revoked:
            self.fault(f"{device.name}: {text} was given up with {fault.code}")

    def shown(self, device: "Device", event: e.Event) -> None:
        """The application on a device was handed an event."""
        match event:
            case e.Message():
                self._message(device, event)
            case e.Undecryptable():
                talk = self.talks[event.conversation]
                self.note(f"{device.name} cannot open {talk.name} {event.seq}: {event.reason}")
                excused = self.restored or device.id in talk.log[event.seq - 1].newcomers
                if not excused:
                    self.fault(f"{device.name} cannot open {talk.name} {event.seq}: {event.reason}")
            case e.Gap():
                self._gap(device, event)
            case e.Unsent():
                self.unsent(device, event.conversation, event.text, VardeError(event.code, code=event.code))
            case e.TranscriptBroken(why=e.Break.RESTORED):
                pass
            case _ if isinstance(event, BROKEN) and not self.restored:
                self.fault(f"{device.name} was told {type(event).__name__} {getattr(event, 'why', '')}")

    def _message(self, device: "Device", message: e.Message) -> None:
        talk, reader = self.talks[message.conversation], self._readers[device.id]
        self.counts["shown"] += 1
        self.note(f"{device.name} shown {talk.name} {message.seq} {message.text}")
        again = reader.latest[0] < device.life and reader.latest[1] == message.text
        if message.text in reader.shown and not again:
            self.fault(f"{device.name} was shown {message.text} twice")
        if message.seq <= reader.last.get(message.conversation, 0) and not again:
            self.fault(f"{device.name} was shown {talk.name} {message.seq} after {reader.last[message.conversation]}")
        reader.last[message.conversation] = message.seq
        reader.latest = device.life, message.text
        reader.shown.add(message.text)
        text = self.texts.get(message.text)
        if text is None or (text.sender.id, text.conversation) != (message.device, message.conversation):
            self.fault(f"{device.name} was shown {message.text}, which nobody wrote like that")
        entry = talk.log[message.seq - 1] if message.seq <= len(talk.log) else None
        if self.restored:
            return
        if entry is None or (entry.device, entry.client_id) != (message.device, message.client_id):
            self.fault(f"{device.name} was shown {message.text} as {talk.name} {message.seq}, which is another message")
        elif device.id not in entry.audience:
            self.fault(f"{device.name} was shown {message.text}, which was not for it")

    def _gap(self, device: "Device", gap: e.Gap) -> None:
        talk = self.talks[gap.conversation]
        self.note(f"{device.name} gap {talk.name} {gap.from_seq}-{gap.to_seq} {gap.why}")
        for entry in talk.log[gap.from_seq - 1 : gap.to_seq]:
            if device.id in entry.audience and talk.stayed(device.id, entry) and not self.restored:
                self.fault(f"{device.name}: a gap ({gap.why}) hides a message of {self._name(entry.device)}")

    # What comes over the wire.

    def connected(self, device: "Device") -> None:
        """A connection begins."""
        self.note(f"{device.name} connected to {device.node}")
        self.counts["connections"] += 1
        self._readers[device.id].wire.clear()

    def heard(self, device: "Device", frames: Sequence[f.ServerFrame]) -> None:
        """Frames came: on one connection no number is left out."""
        wire = self._readers[device.id].wire
        for frame in frames:
            match frame:
                case f.Joined():
                    wire[frame.conversation] = frame.from_seq - 1
                case f.New() | f.Gap():
                    first, last = (frame.seq, frame.seq) if isinstance(frame, f.New) else (frame.from_seq, frame.to_seq)
                    before = wire.get(frame.conversation, 0)
                    if first > before + 1:
                        self.fault(f"{device.name}: {self.talks[frame.conversation].name} {first} came after {before}")
                    wire[frame.conversation] = max(before, last)
                    if isinstance(frame, f.Gap) and frame.why is f.GapReason.NOT_FOR_YOU:
                        self._not_for_you(device, frame)

    def _not_for_you(self, device: "Device", gap: f.Gap) -> None:
        talk = self.talks[gap.conversation]
        self.counts["not for you"] += gap.to_seq - gap.from_seq + 1
        for seq, entry in enumerate(talk.log[gap.from_seq - 1 : gap.to_seq], gap.from_seq):
            if (not entry.part or device.id in entry.audience) and not self.restored:
                self.fault(f"{device.name} was told that {talk.name} {seq} is for others")

    def disconnected(self, device: "Device", why: str) -> None:
        """A connection, or an attempt at one, is over."""
        self.note(f"{device.name} disconnected: {why}")

    def ended(self, device: "Device", end: VardeError) -> None:
        """A client came to its end."""
        self.note(f"{device.name} ended: {end.code}")
        if type(end) is not Ended and not device.revoked:
            self.fault(f"{device.name} gave up: {end.code}")

    # The end.

    def missing(self) -> list[str]:
        """Return what a working system would have done by now, and has not."""
        own = self._own_messages()
        found = [
            f"{text.text} of {text.sender.name} is not acked"
            for text in self.texts.values()
            if text.text not in own and not text.excused and self._stays(text)
        ]
        for text in sorted(own):
            if text in self.texts:
                found += self._not_shown(self.texts[text], own[text])
        return found

    def _own_messages(self) -> dict[str, e.Message]:
        """Return what each device has in its store as stored by the server, by its text."""
        places = {(each.sender.name, each.conversation): each.sender for each in self.texts.values()}
        return {
            message.text: message
            for (_, conversation), sender in places.items()
            for message in sender.store.log.history(conversation, 10_000, None)
            if message.mine
        }

    def _stays(self, text: Text) -> bool:
        return text.sender.id in self.talks[text.conversation].since and not text.sender.revoked

    def _not_shown(self, text: Text, own: e.Message) -> list[str]:
        talk = self.talks[text.conversation]
        # By its client id: after a restore it has another number.
        entry = next((each for each in talk.log if (each.device, each.client_id) == (own.device, own.client_id)), None)
        if entry is None:
            return [f"{text.text} of {text.sender.name} was acked and is stored nowhere"]
        due = [each for each in sorted(entry.audience - entry.newcomers) if talk.stayed(each, entry)]
        return [
            f"{self._name(device)} was not shown {text.text} of {talk.name}"
            for device in due
            if text.text not in self._readers[device].shown
        ]

    def _name(self, device: DeviceId) -> str:
        return self.devices[device].name if device in self.devices else "somebody"

    def _names(self, devices: set[DeviceId] | frozenset[DeviceId]) -> str:
        return ", ".join(self._name(each) for each in sorted(devices))
