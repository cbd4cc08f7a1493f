"""Supervision in virtual time: when it starts a program again, how long it waits, when it gives up.

No process is started: a fake for one does what the test tells it.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from supervisor.events import Exited, Ready, describe_exit
from supervisor.process import OnLine, Process
from supervisor.programs import Program, never, ready_message
from supervisor.supervised import FIRST_STARTS, Backoff, StartFailed, explain, open_supervised
from tests.supervisor.fake_system import EventRecorder

READY = '{"ready": "relay", "address": "here:1"}'


class Life:
    """One process of a fake program: ready after `ready_after` seconds, ended `lives` seconds after its start."""

    def __init__(self, *, ready_after: float | None, lives: float, code: int = 1) -> None:
        self.ready_after = ready_after
        self.lives = lives
        self.code = code
        self.pid = 0
        self.signals: list[signal.Signals] = []

    async def wait(self) -> int:
        """Live."""
        await trio.sleep(self.lives)
        return self.code

    def send_signal(self, sig: signal.Signals, /) -> None:
        """Note it."""
        self.signals.append(sig)


class Lives:
    """Starts one life after the other, and notes when each began and whether it was stopped."""

    def __init__(self, *lives: Life) -> None:
        self._lives = list(lives)
        self.begun: list[float] = []
        self.stopped = 0

    @asynccontextmanager
    async def start(self, _program: Program, on_line: OnLine) -> AsyncIterator[Process]:
        """See `supervisor.process.Start`."""
        life = self._lives.pop(0)
        self.begun.append(trio.current_time())
        life.pid = len(self.begun)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, life, on_line)
            try:
                yield life
            finally:
                self.stopped += 1
                nursery.cancel_scope.cancel()

    async def _speak(self, life: Life, on_line: OnLine) -> None:
        on_line("hello")
        if life.ready_after is not None:
            await trio.sleep(life.ready_after)
            on_line(READY)


RELAY = Program(
    name="relay", command=("relay",), environ={}, parse_ready=ready_message("relay"), start_timeout=30, stop_timeout=5
)


def unhurried() -> Backoff:
    """Delays without chance: 1, 2, 4, 8, 8 ... seconds, forgiven after 100."""
    return Backoff(lambda: 0.0, first=1, most=8, healthy=100)


def short(times: int) -> list[Life]:
    """Lives that are ready at once and end after a second."""
    return [Life(ready_after=0, lives=1) for _ in range(times)]


async def test_the_block_begins_when_the_program_is_ready(autojump_clock: MockClock, recorder: EventRecorder) -> None:
    """Whoever enters can connect: the address is known."""
    lives = Lives(Life(ready_after=3, lives=1000))
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()) as kept:
        assert (kept.pid, kept.address, kept.starts) == (1, "here:1", 1)
        assert recorder.of(Ready) == [Ready("relay", 1, "here:1", 1, 3)]
    assert lives.stopped == 1


async def test_a_crash_loop_is_slowed_down_to_a_bound(autojump_clock: MockClock, recorder: EventRecorder) -> None:
    """A program that keeps dying is started for ever, each time later, never later than the bound."""
    lives = Lives(*short(6), Life(ready_after=0, lives=1000))
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()) as kept:
        await kept.wait_start(7)
    assert [down.delay for down in recorder.of(Exited) if isinstance(down, Exited)] == [1, 2, 4, 8, 8, 8]
    begun = [moment - lives.begun[0] for moment in lives.begun]
    assert begun == pytest.approx([0, 2, 5, 10, 19, 28, 37])


async def test_a_healthy_while_forgives(autojump_clock: MockClock, recorder: EventRecorder) -> None:
    """A program that ran well for long is started again at once when it dies."""
    lives = Lives(*short(3), Life(ready_after=0, lives=100), Life(ready_after=0, lives=1000))
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()) as kept:
        await kept.wait_start(5)
    assert [down.delay for down in recorder.of(Exited) if isinstance(down, Exited)] == [1, 2, 4, 1]


async def test_first_starts_that_fail_are_given_up(autojump_clock: MockClock, recorder: EventRecorder) -> None:
    """A program that was never ready is not tried for ever: the failure says how it ended and what it wrote."""
    lives = Lives(*(Life(ready_after=None, lives=1, code=-9) for _ in range(FIRST_STARTS)))
    with pytest.RaisesGroup(
        pytest.RaisesExc(StartFailed, match="relay did not start: it was killed by SIGKILL")
    ) as caught:
        async with open_supervised(RELAY, lives.start, recorder.report, unhurried()):
            raise AssertionError("the block must not begin")
    (failure,) = caught.value.exceptions
    assert isinstance(failure, StartFailed)
    assert failure.said == ("hello",)


async def test_a_program_that_is_never_ready_is_stopped_and_counted(
    autojump_clock: MockClock, recorder: EventRecorder
) -> None:
    """A program that hangs while it starts is no better than one that ends."""
    hanging = [Life(ready_after=None, lives=1000) for _ in range(FIRST_STARTS - 1)]
    lives = Lives(*hanging, Life(ready_after=1, lives=1000))
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()):
        assert lives.stopped == FIRST_STARTS - 1
    assert {down.why for down in recorder.of(Exited) if isinstance(down, Exited)} == {"was not ready after 30 s"}


async def test_a_program_that_was_ready_may_be_slow_to_come_back(
    autojump_clock: MockClock, recorder: EventRecorder
) -> None:
    """What once ran is never given up, however often its restart fails."""
    failing = [Life(ready_after=None, lives=1) for _ in range(5 * FIRST_STARTS)]
    lives = Lives(*short(1), *failing, Life(ready_after=0, lives=1000))
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()) as kept:
        await kept.wait_start(2)
    assert len(lives.begun) == 5 * FIRST_STARTS + 2


async def test_cancelling_ends_inner_blocks_first(autojump_clock: MockClock, recorder: EventRecorder) -> None:
    """Even when everything is cancelled at once, a program lives on until the block inside it has ended."""
    lives = Lives(Life(ready_after=0, lives=1000))
    with trio.move_on_after(5):
        async with open_supervised(RELAY, lives.start, recorder.report, unhurried()):
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)  # virtual: a program that is slow to leave
                assert lives.stopped == 0
    assert lives.stopped == 1


async def test_a_signal_reaches_the_process_that_is_ready_for_it(
    autojump_clock: MockClock, recorder: EventRecorder
) -> None:
    """A process that is starting would die of a signal that it does not know yet, so it gets it when it is ready."""
    first, second = Life(ready_after=0, lives=10), Life(ready_after=5, lives=1000)
    lives = Lives(first, second)
    async with open_supervised(RELAY, lives.start, recorder.report, unhurried()) as kept:
        kept.send_signal(signal.SIGHUP)
        await recorder.wait_count(Exited, 1)
        kept.send_signal(signal.SIGHUP)
        kept.send_signal(signal.SIGHUP)
        assert (first.signals, second.signals) == ([signal.SIGHUP], [])
        await kept.wait_start(2)
        assert (first.signals, second.signals) == ([signal.SIGHUP], [signal.SIGHUP])


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=2_000))
def test_delays_stay_between_half_and_whole_of_a_bounded_doubling(chances: list[float]) -> None:
    """Chance spreads restarts, and no number of failures makes a delay longer than the bound or overflow."""
    drawn = iter(chances)
    backoff = Backoff(lambda: next(drawn), first=1, most=10)
    for failures in range(len(chances)):
        delay = backoff.next_delay(lived=0)
        whole = min(10, 2 ** min(failures, 32))
        assert whole / 2 <= delay <= whole


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("OSError: [Errno 98] Address already in use", "takes free ports"),
        ("ERROR: permission denied", "who owns the data folder"),
        ("no such luck", "run it alone"),
    ],
)
def test_a_failed_start_shows_its_words_and_what_to_do(said: str, advice: str) -> None:
    """A person reads what failed, what it said itself, and the next step."""
    program = Program(name="api", command=(), environ={}, parse_ready=never)
    text = explain(StartFailed(program, "ended with exit code 1", ("", said)))
    assert text.startswith("api did not start: it ended with exit code 1.\nIt said:\n    " + said)
    assert advice in text


def test_exit_codes_are_told_in_words() -> None:
    """A signal has a name, also one that this system does not know."""
    assert describe_exit(0) == "ended with exit code 0"
    assert describe_exit(-15) == "was killed by SIGTERM"
    assert describe_exit(-200) == "was killed by signal 200"
