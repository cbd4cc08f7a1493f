"""The loop's lateness: measured, shown, and held against newcomers for a while."""

import logging

import pytest
import trio
from trio.testing import MockClock

from observability.loop_lateness import TICK
from tests.relay.memory_node import MemoryNode
from tests.relay.metrics_reader import scrape


def hold_the_loop(seconds: float) -> None:
    """Let time pass in which no task gets a turn."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    clock.jump(seconds)


async def test_a_loop_on_time_is_seen(node: MemoryNode) -> None:
    """Ten looks a second, all of them on time."""
    await trio.sleep(10 * TICK + TICK / 2)  # in time that jumps
    samples = await scrape(node.services)
    assert samples["varde_relay_loop_lateness_seconds_count", ()] == 10
    assert samples["varde_relay_loop_lateness_seconds_bucket", (("le", "0.0001"),)] == 10
    assert node.services.admission.lateness < 0.001


async def test_a_late_loop_is_seen(node: MemoryNode, caplog: pytest.LogCaptureFixture) -> None:
    """By its length, in the log if it is worth a word, and by admission until it has been good for a while."""
    await trio.sleep(TICK / 2)  # in time that jumps
    with caplog.at_level(logging.WARNING, logger="varde.loop"):
        hold_the_loop(4.0)
        await trio.sleep(TICK)  # for the canary to see it, in time that jumps
    samples = await scrape(node.services)
    assert samples["varde_relay_loop_lateness_seconds_sum", ()] == pytest.approx(4.0 - TICK / 2)
    assert "the loop was 4.0 s late" in caplog.text or "the loop was 3.9 s late" in caplog.text
    assert node.services.admission.lateness > node.services.settings.lateness
    await trio.sleep(3)  # of keeping up, in time that jumps
    assert node.services.admission.lateness < node.services.settings.lateness
