"""The books: each way in which a message can go wrong is planted, and found under its own name."""

from dataclasses import dataclass, field

import msgspec
import pytest

from chaos.account import Account, FaultResult, Said, add_up, to_json
from tests.ids import id_of
from varde_contract.ids import ConversationId, ProfileId

GROUP, DM = ConversationId(id_of(1)), ConversationId(id_of(2))
NAMES = {ProfileId(id_of(10 + number)): name for number, name in enumerate(("alice", "bob", "carol"))}
PROFILE = {name: profile for profile, name in NAMES.items()}


@dataclass
class Story:
    """Three people in a group, two of them in a dm. Alice has said two things in the group, and all is well."""

    account: Account = field(
        default_factory=lambda: Account({GROUP: frozenset(NAMES.values()), DM: frozenset({"alice", "bob"})}, NAMES)
    )

    def __post_init__(self) -> None:
        for number in (1, 2):
            said = Said("x", "alice", number)
            self.account.sent[GROUP, said] = float(number)
            self.account.acked[GROUP, said] = number
            for name in ("bob", "carol"):
                self.show(name, said, at=number + 0.5)

    def show(self, name: str, said: Said, *, at: float, where: ConversationId = GROUP, by: str = "alice") -> None:
        """Show somebody a message."""
        self.account.shown[name].append((at, where, PROFILE[by], said))

    def close(self) -> FaultResult:
        """The result."""
        return self.account.close("x", (0.0, 2.5), seed=7)


@pytest.fixture
def story() -> Story:
    """All is well."""
    return Story()


def test_what_went_well_is_clean(story: Story) -> None:
    """Every message once, to everybody; the longest silence is told, and what it took of the month."""
    result = story.close()
    assert (result.acked, result.shown, result.lost, result.clean) == (2, 2, 0, True)
    assert result.longest_outage_s == 1.5
    assert result.budget_percent == pytest.approx(100 * 1.5 / 2_592, abs=0.001)
    assert story.account.missing("x") == 0


def test_a_silence_to_the_end_is_an_outage(story: Story) -> None:
    """Also when nothing was shown at all."""
    assert story.account.close("x", (0.0, 9.5), 7).longest_outage_s == 7.0
    assert story.account.close("y", (1.0, 9.0), 7).longest_outage_s == 8.0


def test_what_the_log_does_not_have_is_lost(story: Story) -> None:
    """Everybody was shown it, and whoever comes later will not be."""
    log = {(GROUP, 1), (GROUP, 2)}
    assert story.account.close("x", (0.0, 2.5), 7, log=log).clean
    result = story.account.close("x", (0.0, 2.5), 7, log=log - {(GROUP, 2)})
    assert (result.acked, result.shown, result.lost, result.clean) == (2, 2, 1, False)


def test_a_cut_is_found_where_there_may_be_none(story: Story) -> None:
    """And what ended before the fault is not counted."""
    story.account.disconnected += [0.5, 2.0]
    assert story.account.close("x", (1.0, 2.5), 7).clean
    result = story.account.close("x", (1.0, 2.5), 7, cuts=False)
    assert (result.cut, result.clean) == (1, False)


def test_a_loss_is_found(story: Story) -> None:
    """One of two readers is enough."""
    said = Said("x", "alice", 3)
    story.account.sent[GROUP, said], story.account.acked[GROUP, said] = 3.0, 3
    story.show("bob", said, at=3.5)
    assert story.account.missing("x") == 1
    result = story.close()
    assert (result.acked, result.shown, result.lost, result.clean) == (3, 2, 1, False)


def test_a_repetition_is_found(story: Story) -> None:
    """Shown twice is once too often."""
    story.show("bob", Said("x", "alice", 2), at=4.0)
    assert story.close().repeated == 1


def test_a_message_out_of_order_is_found(story: Story) -> None:
    """Of one sender, in one conversation."""
    story.account.shown["carol"].reverse()
    result = story.close()
    assert (result.disordered, result.clean) == (1, False)
    result.may_disorder = True
    assert result.clean


@pytest.mark.parametrize(
    ("name", "where", "by", "said"),
    [
        pytest.param("carol", DM, "alice", Said("x", "alice", 9), id="to-who-is-no-member"),
        pytest.param("bob", DM, "alice", Said("x", "alice", 1), id="in-another-conversation"),
        pytest.param("bob", GROUP, "carol", Said("x", "alice", 1), id="under-another-name"),
        pytest.param("bob", GROUP, "alice", Said("x", "alice", 99), id="never-said"),
    ],
)
def test_a_misdelivery_is_found(story: Story, name: str, where: ConversationId, by: str, said: Said) -> None:
    """Whatever about it is wrong."""
    if said.number == 9:
        story.account.sent[DM, said] = 1.0
    story.show(name, said, at=5.0, where=where, by=by)
    assert story.close().misdelivered == 1


def test_other_faults_are_other_books(story: Story) -> None:
    """What was said under one is not counted under another; the total has all of it."""
    assert story.account.close("y", (0.0, 9.0), 7).acked == 0
    results = {"x": story.close(), "y": FaultResult(acked=3, shown=2, lost=1, longest_outage_s=9.0, seed=7)}
    total = add_up(results, 7)
    assert (total.acked, total.shown, total.lost, total.longest_outage_s, total.seed) == (5, 4, 1, 9.0, 7)
    document = msgspec.json.decode(to_json(results, total, {"seed": 7}))
    keys = {"acked", "shown", "lost", "repeated", "misdelivered", "disordered", "longest_outage_s", "seed"}
    for result in (*document["faults"].values(), document["total"]):
        assert keys <= result.keys()
