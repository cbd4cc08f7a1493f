"""The metrics as a page: every one is documented, none names anybody, and no set of series grows."""

from collections.abc import Iterable

import pytest
import trio

from observability.definition import Kind
from observability.histogram import Histogram
from relay.frames.refusals import close_code
from relay.metrics.counters import Metrics
from relay.metrics.exposition import DEFINITIONS
from relay.metrics.labels import (
    CLOSE_CODES,
    HANDSHAKE_CLOSE_CODES,
    HANDSHAKE_OUTCOME,
    HOSTILITY,
    HOSTILITY_ADVICE,
    JOIN_OUTCOME,
    JOURNAL_REFUSAL,
    HandshakeOutcome,
    Hostility,
    JoinOutcome,
    JournalRefusal,
)
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_phone
from tests.relay.memory_node import ADDRESS, Backend, MemoryNode, Sends, open_room
from tests.relay.metrics_reader import parse, scrape
from varde_contract import frames as f
from varde_contract.close_codes import CloseCode
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.session import Pattern


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        (HandshakeOutcome, HANDSHAKE_OUTCOME),
        (JoinOutcome, JOIN_OUTCOME),
        (Hostility, HOSTILITY),
        (Hostility, HOSTILITY_ADVICE),
        (JournalRefusal, JOURNAL_REFUSAL),
    ],
)
def test_every_word_has_a_meaning(words: Iterable[str], explained: dict[str, str]) -> None:
    """A word that can be counted can be looked up."""
    assert list(words) == list(explained)


def test_a_histogram_counts_what_is_not_larger() -> None:
    """Buckets hold their bound, and each holds those before it; what is larger than all is only in the last."""
    histogram = Histogram((0.5, 1.0, 4096.0))
    for value in (0.1, 0.5, 0.6, 1.0, 5_000.0):
        histogram.observe(value)
    assert histogram.buckets == [("0.5", 2), ("1", 4), ("4096", 4), ("+Inf", 5)]
    assert len(histogram) == 5
    assert histogram.total == pytest.approx(5_002.2)


def test_a_peer_cannot_choose_a_label() -> None:
    """Of close codes, ours and those of the RFC have their own count, and whatever else is sent shares one."""
    closed = Metrics().disconnects
    for code in (1000, CloseCode.REVOKED, None, 1005, 3000, 4999, 4998, -7):
        closed[code] += 1
    assert (closed[1000], closed[4101], closed[None], closed[4999], closed[12345]) == (1, 1, 1, 5, 5)
    assert set(closed) == set(CLOSE_CODES)


def test_every_end_of_a_handshake_has_an_outcome() -> None:
    """Whatever a Hello is refused with, and whatever else ends a handshake, is counted as something."""
    ends = {close_code(code) for code in RefusalCode} | {CloseCode.HANDSHAKE_TIMEOUT, CloseCode.HANDSHAKE_FAILED}
    assert ends <= set(HANDSHAKE_CLOSE_CODES)


async def live_through_a_day(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """Let some of everything happen."""
    roster = await open_room(backend, alice, bob)
    laptop = await node.listen(alice_laptop, roster.conversation)
    phone = await node.connect_client(bob_phone, Pattern.IK)
    await phone.send(f.Join())
    await phone.receive(f.Joined)
    await laptop.send(sends.group(roster, alice))
    await laptop.receive(f.Ack)
    await phone.receive(f.New)
    await laptop.send(f.Typing(roster.conversation, alice.profile, active=True))
    await phone.send(f.Delivered(roster.conversation, 1), f.Presence(bob.profile, f.PresenceState.ACTIVE))
    no_such = ConversationId(alice_phone.id)
    await phone.send(f.Sync(roster.conversation, 1), f.Join(no_such))
    await phone.receive_pending()
    laptop.protocol.send_close(4_242, "because I can")
    await laptop.flush()
    await trio.sleep(60)  # for heartbeats, in time that jumps


@pytest.mark.parametrize("openmetrics", [False, True])
async def test_a_page_can_be_read(node: MemoryNode, openmetrics: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Both formats are understood by the library's own readers, and hold every metric of the table from the start."""
    samples = await scrape(node.services, openmetrics=openmetrics)
    names = {name for name, _ in samples}
    for row in DEFINITIONS:
        suffixes = ("_bucket", "_count", "_sum") if row.kind is Kind.HISTOGRAM else ("",)
        assert {row.name + suffix for suffix in suffixes} <= names


async def test_no_set_of_series_grows(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """After a day's life there are the series that were there in the morning, each with one label at the most."""
    before = await scrape(node.services)
    await live_through_a_day(node, backend, sends)
    after = await scrape(node.services)
    assert set(after) == set(before)
    assert max(len([word for word in labels if word[0] != "le"]) for _, labels in after) == 1


async def test_nobody_is_named(node: MemoryNode, backend: Backend, sends: Sends) -> None:
    """No id, address, ticket or name of the node is in what a node shows."""
    await live_through_a_day(node, backend, sends)
    page = "\n".join(f"{name}{labels}" for name, labels in await scrape(node.services))
    ids = [
        *(person.profile for person in (alice, bob)),
        *(person.account for person in (alice, bob)),
        *(device.id for device in (alice_laptop, bob_phone)),
        *backend.memory.talks,
    ]
    for each in ids:
        assert str(each) not in page
        assert each.hex not in page
    for text in (ADDRESS, node.services.node, node.ticket(alice_laptop)):
        assert text not in page


def test_a_series_that_is_there_twice_is_found() -> None:
    """The reader of these tests would notice."""
    with pytest.raises(AssertionError):
        parse('# TYPE a counter\na_total{x="1"} 1\na_total{x="1"} 2\n')
