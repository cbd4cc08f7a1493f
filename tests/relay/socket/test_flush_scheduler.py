"""When outboxes are flushed: at once, or together."""

import pytest

from relay.socket.flush_scheduler import FlushScheduler


class Noted:
    """Writes down when it is flushed."""

    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        """Once more."""
        self.flushed += 1


def test_on_a_quiet_loop_it_is_sent_at_once() -> None:
    """Each ring is a flush."""
    flush_scheduler, sender = FlushScheduler(), Noted()
    flush_scheduler.request(sender)
    flush_scheduler.request(sender)
    assert sender.flushed == 2


def test_what_piles_up_leaves_together() -> None:
    """Within a block nothing is sent, and at its end everybody once."""
    flush_scheduler, alice, bob = FlushScheduler(), Noted(), Noted()
    with flush_scheduler.gather():
        for sender in (alice, bob, alice, alice):
            flush_scheduler.request(sender)
        assert alice.flushed == bob.flushed == 0
    assert alice.flushed == bob.flushed == 1
    flush_scheduler.request(alice)
    assert alice.flushed == 2


def test_a_surprise_in_the_block_holds_nobody_up() -> None:
    """What was gathered is sent all the same, and what comes later at once."""
    flush_scheduler, sender = FlushScheduler(), Noted()

    def fail() -> None:
        with flush_scheduler.gather():
            flush_scheduler.request(sender)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    flush_scheduler.request(sender)
    assert sender.flushed == 2
