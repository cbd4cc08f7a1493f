"""When outboxes are flushed: at once, or together."""

import pytest

from relay.socket.flushing import Flushing


class Noted:
    """Writes down when it is flushed."""

    def __init__(self) -> None:
        self.flushed = 0

    def flush(self) -> None:
        """Once more."""
        self.flushed += 1


def test_on_a_quiet_loop_it_is_sent_at_once() -> None:
    """Each ring is a flush."""
    flushing, sender = Flushing(), Noted()
    flushing.ring(sender)
    flushing.ring(sender)
    assert sender.flushed == 2


def test_what_piles_up_leaves_together() -> None:
    """Within a block nothing is sent, and at its end everybody once."""
    flushing, alice, bob = Flushing(), Noted(), Noted()
    with flushing.gather():
        for sender in (alice, bob, alice, alice):
            flushing.ring(sender)
        assert alice.flushed == bob.flushed == 0
    assert alice.flushed == bob.flushed == 1
    flushing.ring(alice)
    assert alice.flushed == 2


def test_a_surprise_in_the_block_holds_nobody_up() -> None:
    """What was gathered is sent all the same, and what comes later at once."""
    flushing, sender = Flushing(), Noted()

    def fail() -> None:
        with flushing.gather():
            flushing.ring(sender)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    flushing.ring(sender)
    assert sender.flushed == 2
