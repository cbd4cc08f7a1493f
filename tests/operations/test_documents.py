"""The pages for operators, executed: an installation, and all that is done to it, while two people talk."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.end_to_end.stack import connected, open_dm, people
from tests.operations.documents import Machine, open_machine
from tests.system import SCRATCH

pytestmark = pytest.mark.xdist_group("documents")
SECONDS = 600
"""For all that is done to a machine. With nothing else to do it takes less than one."""
PAGES = "scale-out.md", "upgrade.md", "keys.md", "audit.md", "incident.md", "backup.md"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One machine, on which the pages are done one after the other."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as folder, open_machine(Path(folder)) as machine:
        yield machine


@pytest.mark.timeout(SECONDS)
async def test_what_the_pages_say_works(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page, word by word; a message is sent after each, and all come once and in order."""
    monkeypatch.setenv("SSL_CERT_FILE", str(machine.authority))
    said = await trio.to_thread.run_sync(machine.run, "install.md")
    assert "FAILED" not in said
    assert "2 of 2 nodes alive" in said
    alice, bob = await people(machine, tmp_path, "alice", "bob")
    async with connected((alice, "laptop"), (bob, "laptop"), seconds=SECONDS) as (hers, his):
        conversation = await open_dm(hers, his)
        reader = aiter(his.conversation(conversation.id))
        for number, page in enumerate(PAGES):
            said = await trio.to_thread.run_sync(machine.run, page)
            require(page, said)
            await conversation.send(page)
            assert (await anext(reader)).text == page, f"message {number} is another one"


SHOWN = {
    "scale-out.md": r"relay-\d+-\w+ drains \d+ connections",
    "upgrade.md": r"2 of \d nodes alive",
    "keys.md": r"ticket +switched",
    "audit.md": r"rotate-key +ticket announced",
    "incident.md": r"ticket: the old key is gone",
    "backup.md": r"restored: \d+ tables, \d+ rows, and the keys",
}


def require(page: str, said: str) -> None:
    """The last thing that a page promises is in what was printed."""
    assert re.search(SHOWN[page], said), f"{page}: {said}"
