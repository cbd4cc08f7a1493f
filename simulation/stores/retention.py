"""The sweep over what the memory stores keep."""

from collections.abc import Callable
from typing import TypeVar

import trio

from domain.people.user_names import HELD
from domain.retention.model import Swept
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory

K = TypeVar("K")
V = TypeVar("V")

DAY_MS = 24 * 60 * 60 * 1000


class MemoryRetention:
    """A `domain.retention.ports.RetentionStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> Swept:
        """As promised."""
        await self._interference.let_through()
        memory = self._memory
        _drop(memory.links, lambda link: link.expires_ms <= now_ms, limit)
        memory.link_uses = {each for each in memory.link_uses if each[:2] in memory.links}
        _drop(memory.user_names, lambda row: row[1] is not None and row[1] <= now_ms - HELD, limit)
        return Swept(
            ciphertexts=self._sweep_ciphers(now_ms - retention_ms, limit),
            messages=self._sweep_messages(now_ms - 2 * retention_ms, limit),
            codes=_drop(memory.codes, lambda code: code.expires_ms <= now_ms, limit),
            sessions=_drop(memory.sessions, lambda session: session.refresh_expires_ms <= now_ms, limit),
            revocations=_drop(memory.revocations, lambda row: row[0] <= now_ms - DAY_MS and not row[1].final, limit),
        )

    def _sweep_ciphers(self, before_ms: int, limit: int) -> int:
        past = [
            (talk, key)
            for talk in self._memory.talks.values()
            for key in talk.ciphers
            if talk.log[key[0]].sent_ms <= before_ms
        ]
        # Of a part the mark of the others goes first: without the rest it would call what expired `not-for-you`.
        past.sort(key=lambda each: (each[0].log[each[1][0]].sent_ms, each[1][1] is not None))
        for talk, key in past[:limit]:
            del talk.ciphers[key]
        return len(past[:limit])

    def _sweep_messages(self, before_ms: int, limit: int) -> int:
        past = [
            (talk, seq)
            for talk in self._memory.talks.values()
            for seq, draft in talk.log.items()
            if draft.sent_ms <= before_ms and all(key[0] != seq for key in talk.ciphers)
        ]
        past.sort(key=lambda each: each[0].log[each[1]].sent_ms)
        for talk, seq in past[:limit]:
            draft = talk.log.pop(seq)
            del talk.known[draft.device, draft.client_id]
        return len(past[:limit])


def _drop(rows: dict[K, V], dead: Callable[[V], bool], limit: int) -> int:
    keys = [key for key, row in rows.items() if dead(row)][:limit]
    for key in keys:
        del rows[key]
    return len(keys)


class ScriptedRetention:
    """A `domain.retention.ports.RetentionStore` that keeps no rows: `answers` one by one, then nothing to sweep.

    `sweeps` are the arguments of every call, and `on_sweep` is called with each.
    """

    def __init__(self, *answers: Swept | Exception) -> None:
        self.answers = list(answers)
        self.sweeps: list[tuple[int, int, int]] = []
        self.on_sweep: Callable[[], object] = lambda: None

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> Swept:
        """Answer."""
        await trio.lowlevel.checkpoint()
        self.on_sweep()
        self.sweeps.append((now_ms, retention_ms, limit))
        answer = self.answers.pop(0) if self.answers else Swept(0, 0, 0, 0, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer
