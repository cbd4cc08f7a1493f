"""What every chapter works with: the running system, the people, the conversations and texts so far."""

from dataclasses import dataclass, field

import varde
from demo.people import Device, Person, SignUps
from demo.promises import Transcript
from supervisor.events import LogLine, ProcessEvent
from supervisor.log_output import LogOutput
from supervisor.system import System
from varde.events import Sent
from varde_contract.ids import ConversationId


@dataclass(slots=True)
class ProcessLog:
    """Everything the supervisor reported, the lines of the programs included; also printed when there is a `log`."""

    log: LogOutput | None
    events: list[ProcessEvent] = field(default_factory=list)

    def report(self, event: ProcessEvent) -> None:
        """Record an event of the supervisor."""
        self.events.append(event)
        if self.log is not None:
            self.log.report(event)

    @property
    def lines(self) -> list[str]:
        """Every line of every program."""
        return [each.line for each in self.events if isinstance(each, LogLine)]


@dataclass(slots=True, kw_only=True)
class DemoContext:
    """The state that chapters share."""

    transcript: Transcript
    system: System
    sign_ups: SignUps
    people: dict[str, Person]
    message_count: int
    process_log: ProcessLog
    sent_texts: list[str] = field(default_factory=list)
    dm: ConversationId | None = None
    group: ConversationId | None = None

    def device(self, person: str, device: str) -> Device:
        """One of the devices, by names."""
        return self.people[person].devices[device]

    @property
    def devices(self) -> list[Device]:
        """All of them that have enrolled."""
        return [each for person in self.people.values() for each in person.devices.values() if each.enrolled]

    async def send_text(self, conversation: varde.Conversation, text: str) -> Sent:
        """Send a text, and remember it: in the end the database is searched for all of them."""
        self.sent_texts.append(text)
        return await conversation.send(text)
