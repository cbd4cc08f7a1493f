"""The account of every message: who was told that it is stored, who was shown it, and how often, and in which order."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from varde_contract.ids import ConversationId, ProfileId

MONTH_BUDGET_SECONDS: Final = 30 * 86_400 * 0.001
"""What a service level of 99.9 % leaves a month for outages."""


Log: TypeAlias = set[tuple[ConversationId, int]]
"""The numbers that a database has in its conversations."""


class Said(NamedTuple):
    """One message, as its text says: under which fault it was sent, by whom, and as which one of that sender there."""

    fault: str
    sender: str
    number: int

    @property
    def text(self) -> str:
        """What is sent."""
        return f"{self.fault}/{self.sender}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Said":
        """Read it again."""
        fault, sender, number = text.split("/")
        return cls(fault, sender, int(number))


class FaultResult(Struct):
    """What became of the messages that were sent under one fault. `shown` counts those that everybody was shown."""

    acked: int = 0
    shown: int = 0
    lost: int = 0
    repeated: int = 0
    misdelivered: int = 0
    disordered: int = 0
    may_disorder: bool = False
    """The fault loses what was acked: what is sent again may come behind what was written later."""
    cut: int = 0
    """Connections that ended under a fault that may end none."""
    longest_outage_s: float = 0.0
    budget_percent: float = 0.0
    """Of the month's budget for outages that a service level of 99.9 % leaves."""
    seed: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        disordered = 0 if self.may_disorder else self.disordered
        wrong = self.lost or self.repeated or self.misdelivered or disordered or self.cut
        return not wrong and self.acked == self.shown


@dataclass(slots=True)
class Account:
    """The books. `members` says who is to be shown what is said where, the sender excepted."""

    members: dict[ConversationId, frozenset[str]]
    names: dict[ProfileId, str]
    acked: dict[tuple[ConversationId, Said], int] = field(default_factory=dict)
    """The number that each was given in its conversation."""
    sent: dict[tuple[ConversationId, Said], float] = field(default_factory=dict)
    """What was handed to the client, acked or not."""
    shown: dict[str, list[tuple[float, ConversationId, ProfileId, Said]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    disconnected: list[float] = field(default_factory=list)
    """When somebody's connection ended."""

    def missing(self, fault: str) -> int:
        """How many acked messages of a fault somebody was not shown yet."""
        have = {name: {(conversation, said) for _, conversation, _, said in rows} for name, rows in self.shown.items()}
        return sum(
            (conversation, said) not in have.get(name, set())
            for (conversation, said) in self.acked
            if said.fault == fault
            for name in self.members[conversation] - {said.sender}
        )

    def close(
        self, fault: str, during: tuple[float, float], seed: int, *, cuts: bool = True, log: Log | None = None
    ) -> FaultResult:
        """Return the result of a fault. `during` is when people talked, by the clock of the books; `cuts`: it may.

        With the `log` that the database has now, an acked message that is not in it is lost, whoever was shown it.
        """
        acked = [key for key in self.acked if key[1].fault == fault]
        result = FaultResult(acked=len(acked), seed=seed)
        result.cut = 0 if cuts else sum(at >= during[0] for at in self.disconnected)
        counts = {name: Counter((c, said) for _, c, _, said in rows) for name, rows in self.shown.items()}
        for conversation, said in acked:
            readers = self.members[conversation] - {said.sender}
            unseen = any(not counts.get(name, Counter())[conversation, said] for name in readers)
            gone = log is not None and (conversation, self.acked[conversation, said]) not in log
            result.lost += unseen or gone
            result.shown += not unseen
        # Until the first message is shown is an outage as well, and so is what comes after the last one.
        times = [*during]
        for name, rows in self.shown.items():
            last: dict[tuple[ConversationId, str], int] = {}
            for at, conversation, profile, said in rows:
                if said.fault != fault:
                    continue
                times.append(at)
                ours = (conversation, said) in self.sent and self.names.get(profile) == said.sender
                result.misdelivered += not (ours and name in self.members[conversation])
                result.disordered += said.number < last.get((conversation, said.sender), 0)
                last[conversation, said.sender] = max(said.number, last.get((conversation, said.sender), 0))
            mine = [count for (_, said), count in counts[name].items() if said.fault == fault]
            result.repeated += sum(count - 1 for count in mine)
        times.sort()
        outage = max((after - before for before, after in pairwise(times)), default=0.0)
        result.longest_outage_s = round(outage, 2)
        result.budget_percent = round(100 * outage / MONTH_BUDGET_SECONDS, 3)
        return result


def add_up(results: dict[str, FaultResult], seed: int) -> FaultResult:
    """Return the result of all faults together."""
    total = FaultResult(seed=seed)
    for result in results.values():
        for name in ("acked", "shown", "lost", "repeated", "misdelivered", "disordered", "cut"):
            setattr(total, name, getattr(total, name) + getattr(result, name))
        total.longest_outage_s = max(total.longest_outage_s, result.longest_outage_s)
        total.budget_percent = round(total.budget_percent + result.budget_percent, 3)
    return total


def to_json(results: dict[str, FaultResult], total: FaultResult, extra: dict[str, object]) -> bytes:
    """Return `build/chaos.json`."""
    document = {**extra, "faults": results, "total": total}
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
