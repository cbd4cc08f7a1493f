"""An audit of the whole log: what a log may never do is found, whoever serves it."""

from collections.abc import Callable

import pytest
import trio
from msgspec import structs

from tests.contract.transparency.logs import KEYS, NOW, ORIGIN, PQ_WITNESS, SIGNERS, WITNESS, vkeys
from tests.varde.fake_log import SOMEBODY, listed
from varde.clock import fresh_id
from varde.errors import NotFound
from varde.log_audit import Audited, AuditFailed, audit
from varde_contract.ids import AccountId
from varde_contract.refusals import RefusalCode
from varde_contract.transparency.checkpoint import Checkpoint, Signer, log_signers, sign_checkpoint
from varde_contract.transparency.entry import Entry, join_entries
from varde_contract.transparency.merkle import root_of
from varde_contract.transparency.policy import Policy, parse_policy
from varde_contract.transparency.tiles import read_index_path

OTHER = AccountId(fresh_id())


class Server:
    """Serves a log's files; a test may replace any."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.signers: tuple[Signer, ...] = SIGNERS
        self.files: dict[str, bytes] = {}
        self.reads = 0

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """The tree at a size."""
        shown = self.entries[:size]
        return Checkpoint(ORIGIN, len(shown), root_of([each.leaf() for each in shown]))

    async def read(self, path: str) -> bytes:
        """Return a file."""
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if path in self.files:
            return self.files[path]
        if path == "key":
            return "\n".join(vkeys(*(signer.key for signer in self.signers))).encode()
        if path == "checkpoint":
            return sign_checkpoint(self.checkpoint(), self.signers, NOW).encode()
        if not path.startswith("tile/entries/"):
            raise NotFound(RefusalCode.NOT_FOUND, "no")
        index, width = read_index_path(path.removeprefix("tile/entries/"))
        return join_entries(self.entries[index * 256 : index * 256 + width])


def lists(count: int) -> list[Entry]:
    """Lists of two accounts in turn."""
    return [listed(number // 2 + 1, (SOMEBODY, OTHER)[number % 2], number + 1) for number in range(count)]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 700])
async def test_a_whole_log_is_found_whole(size: int) -> None:
    """Of any size, and again when it has grown."""
    server = Server(lists(size))
    found = await audit(server.read)
    assert (found.size, found.root) == (size, server.checkpoint().root)
    assert (found.accounts, found.time) == (min(size, 2), NOW)
    assert server.reads == 2 + -(-size // 256)
    for further in (0, 1, 300):
        server.entries = lists(size + further)
        assert (await audit(server.read, found)).size == size + further


def hide(server: Server) -> None:
    """A list is left out."""
    server.entries = [entry for entry in lists(12) if entry != lists(12)[4]]


def repeat(server: Server) -> None:
    """A list comes twice."""
    server.entries.append(server.entries[-1])


def exchange(server: Server) -> None:
    """Auditors are shown other entries than those that were signed."""
    entries = [*server.entries[:3], server.entries[3]._replace(digest=bytes(32)), *server.entries[4:]]
    server.files["tile/entries/000.p/10"] = join_entries(entries)


def cut(server: Server) -> None:
    """A bundle is too short."""
    server.files["tile/entries/000.p/10"] = join_entries(server.entries[:9])


def garble(server: Server) -> None:
    """A bundle is no bundle."""
    server.files["tile/entries/000.p/10"] = b"hello"


def roll_back(server: Server) -> None:
    """The log has become shorter."""
    server.entries = lists(5)


def fork(server: Server) -> None:
    """Another history, longer than the last one."""
    server.entries = [lists(10)[0]._replace(digest=bytes(32)), *lists(12)[1:]]


def sign_anew(server: Server) -> None:
    """Another key signs."""
    server.signers = log_signers(ORIGIN, b"x" * 32, b"y" * 32)


def say_nothing(server: Server) -> None:
    """There is no note."""
    server.files["checkpoint"] = b"\xff"


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (hide, "is list 4 of an account whose last one was 2"),
        (repeat, "whose last one was 5"),
        (exchange, "do not make a root"),
        (cut, "has 9"),
        (garble, "56 bytes"),
        (roll_back, "has 5 entries, and had 10"),
        (fork, "do not make a root"),
        (sign_anew, "has not signed"),
        (say_nothing, "UTF-8"),
    ],
)
async def test_a_log_that_lies_is_found_out(lie: Callable[[Server], None], why: str) -> None:
    """By whoever has audited it before."""
    server = Server(lists(10))
    last = await audit(server.read)
    lie(server)
    with pytest.raises(AuditFailed, match=why):
        await audit(server.read, last)


def policy(quorum: str) -> Policy:
    """The log's keys, those of another log, and two witnesses."""
    stranger = log_signers("other.example", b"x" * 32, b"y" * 32)
    logs = [f"log {key}" for key in (*KEYS, *(signer.key for signer in stranger))]
    return parse_policy("\n".join([*logs, f"witness a {WITNESS.key}", f"witness b {PQ_WITNESS.key}", quorum]))


async def test_witnesses_are_demanded_by_the_policy() -> None:
    """A checkpoint that enough have cosigned, and that the log continues."""
    server = Server(lists(10))
    assert (await audit(server.read, policy=policy("quorum none"))).size == 10
    with pytest.raises(NotFound):
        await audit(server.read, policy=policy("quorum a"))
    old = server.checkpoint(7)
    note = sign_checkpoint(old, (*SIGNERS, WITNESS), NOW)
    server.files["checkpoint/cosigned"] = note.encode()
    assert (await audit(server.read, policy=policy("quorum a"))).size == 10
    with pytest.raises(AuditFailed, match="too few witnesses"):
        await audit(server.read, policy=policy("quorum b"))
    forked = sign_checkpoint(old._replace(root=bytes(32)), (*SIGNERS, WITNESS), NOW)
    server.files["checkpoint/cosigned"] = forked.encode()
    with pytest.raises(AuditFailed, match="do not make a root"):
        await audit(server.read, policy=policy("quorum a"))
    server.files["checkpoint/cosigned"] = sign_checkpoint(old._replace(size=11), (*SIGNERS, WITNESS), NOW).encode()
    with pytest.raises(AuditFailed, match="had 11"):
        await audit(server.read, policy=policy("quorum a"))


async def test_a_policy_that_does_not_name_the_log_trusts_nobody() -> None:
    """Nothing is believed in its place."""
    with pytest.raises(AuditFailed, match="has not signed"):
        await audit(Server(lists(3)).read, policy=parse_policy("quorum none"))


async def test_what_was_found_is_for_the_next_audit() -> None:
    """It has the keys, so that those are not believed again."""
    found = await audit(Server(lists(3)).read)
    assert found == Audited(tuple(vkeys(*KEYS)), 3, Server(lists(3)).checkpoint().root, NOW, 2)
    assert structs.replace(found, size=3) == found
