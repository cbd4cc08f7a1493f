"""The sweep that comes again and again."""

from collections.abc import Sequence
from random import Random

import trio
from trio.testing import MockClock

from domain.ports import StoreUnavailable
from domain.retention import RETENTION, SWEEP_ROWS, run_retention, sweep
from domain.talk import model as talk
from tests.doubles.clock import StandingClock
from varde_contract.ids import ConversationId, ProfileId

DICE = Random(1)  # noqa: S311 - it spreads load, and is to do so the same way each time
NOTHING = talk.Swept(0, 0, 0, 0, 0)


class CountingMailbox:
    """A mailbox store that counts sweeps. `answers` are given one by one, then nothing is left to sweep."""

    def __init__(self, *answers: talk.Swept | StoreUnavailable) -> None:
        self.answers = list(answers)
        self.sweeps: list[tuple[int, int, int]] = []

    async def sweep(self, now_ms: int, *, retention_ms: int, limit: int) -> talk.Swept:
        """Count."""
        await trio.lowlevel.checkpoint()
        self.sweeps.append((now_ms, retention_ms, limit))
        answer = self.answers.pop(0) if self.answers else NOTHING
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    async def read(self, requests: Sequence[talk.LogRequest]) -> Sequence[talk.LogPage | None]:
        """Never asked."""
        raise AssertionError(requests)

    async def confirm(self, confirmations: Sequence[talk.Confirmation]) -> Sequence[talk.Confirmation]:
        """Never asked."""
        raise AssertionError(confirmations)

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """Never asked."""
        raise AssertionError(marks)


async def test_a_sweep_says_whether_there_is_more() -> None:
    """A full batch of any kind is followed by another."""
    full = talk.Swept(0, 0, 0, 0, SWEEP_ROWS)
    store = CountingMailbox(full)
    assert await sweep(store, now_ms=5)
    assert not await sweep(store, now_ms=6)
    assert store.sweeps == [(5, RETENTION, SWEEP_ROWS), (6, RETENTION, SWEEP_ROWS)]


async def test_sweeps_go_on_for_ever(autojump_clock: MockClock) -> None:
    """About once a minute, never at once after the start, and also after an outage of the database."""
    store = CountingMailbox(talk.Swept(SWEEP_ROWS, 0, 0, 0, 0), NOTHING, StoreUnavailable())
    with trio.move_on_after(30):
        await run_retention(store, clock=StandingClock(), dice=DICE, retention_ms=7)
    assert store.sweeps == []
    with trio.move_on_after(600):
        await run_retention(store, clock=StandingClock(), dice=DICE, retention_ms=7)
    assert 7 <= len(store.sweeps) <= 22
    assert {retention for _, retention, _ in store.sweeps} == {7}
