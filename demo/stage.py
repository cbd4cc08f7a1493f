"""What every chapter works with: the running house, the people, the conversations so far, and everything that was said.

No promise is made here.
"""

from dataclasses import dataclass, field

import varde
from demo.cast import Device, Person, Registry
from demo.story import Story
from supervisor.events import LogLine, ProcessEvent
from supervisor.log_output import LogOutput
from supervisor.system import System
from varde.events import Sent
from varde_contract.ids import ConversationId


@dataclass(slots=True)
class Chorus:
    """What happened in the house and what its programs said; shown, too, where there is a voice."""

    log: LogOutput | None
    events: list[ProcessEvent] = field(default_factory=list)

    def tell(self, event: ProcessEvent) -> None:
        """Hear what the supervisor tells."""
        self.events.append(event)
        if self.log is not None:
            self.log.report(event)

    @property
    def lines(self) -> list[str]:
        """Every line of every program."""
        return [each.line for each in self.events if isinstance(each, LogLine)]


@dataclass(slots=True, kw_only=True)
class Stage:
    """The state of the story."""

    story: Story
    system: System
    registry: Registry
    people: dict[str, Person]
    storm: int
    chorus: Chorus
    said: list[str] = field(default_factory=list)
    dm: ConversationId | None = None
    group: ConversationId | None = None

    def device(self, person: str, device: str) -> Device:
        """One of the devices, by names."""
        return self.people[person].devices[device]

    @property
    def devices(self) -> list[Device]:
        """All of them that have enrolled."""
        return [each for person in self.people.values() for each in person.devices.values() if each.enrolled]

    async def say(self, conversation: varde.Conversation, text: str) -> Sent:
        """Send a text, and remember it: in the end the database is searched for all of them."""
        self.said.append(text)
        return await conversation.send(text)
