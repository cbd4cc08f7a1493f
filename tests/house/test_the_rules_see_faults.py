"""Each rule of this folder is shown a planted fault, and sees it."""

import ast
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.house import test_clone, test_docs, test_sets, test_silence, test_waiting, test_walls, tree

Plant = Callable[[str], tree.Source]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Makes a source of some text."""
    numbers = count()

    def plant(text: str) -> tree.Source:
        path = tmp_path / f"planted{next(numbers)}.py"  # what was parsed is remembered by its path
        path.write_text(text, encoding="utf-8")
        return tree.Source("planted.py", path)

    return plant


def test_a_nursery_in_an_inner_function_is_seen(plant: Plant) -> None:
    """The function that opens a nursery is named, however deep it stands and whatever trio is called."""
    source = plant(
        "async def outer():\n    async def inner():\n        async with trio.open_nursery() as n: pass\n"
        "class C:\n    async def method(self):\n        async with open_nursery() as n: pass\n"
    )
    assert list(test_walls.found_in(source, source.tree, "open_nursery")) == ["inner", "method"]


@pytest.mark.parametrize(
    "line", ["await trio.sleep(0)", "async with lock: pass", "async for each in messages: pass", "f(x=[await g()])"]
)
def test_a_wait_in_a_transaction_is_seen(plant: Plant, line: str) -> None:
    """Whatever waits does, but not what a function does that is only made there."""
    source = plant(f"async def f(self):\n    with self._store.transaction():\n        {line}\n")
    assert list(test_walls.waits_in_transactions(source)) == ["planted.py:3"]
    source = plant(f"with store.transaction():\n    async def f():\n        {line}\n")
    assert list(test_walls.waits_in_transactions(source)) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = os.environ['X']",
        "x = os.getenv('X')",
        "from os import environ",
        "Config(os.environ)",
        "f(dict(os.environ))",
    ],
)
def test_a_reader_of_the_environment_is_seen(plant: Plant, text: str) -> None:
    """Every way to read a variable is found."""
    assert list(test_walls.reads_environment(plant(f"import os\n{text}\n")))


def test_handing_the_environment_over_is_no_reading(plant: Plant) -> None:
    """A program may give its whole environment to `from_environ`."""
    source = plant("import os\nConfig.from_environ(os.environ)\nfrom_environ(os.environ)\n")
    assert list(test_walls.reads_environment(source)) == []


@pytest.mark.parametrize(
    "call",
    [
        "_log.info('sent to %s', device_id)",
        "logger.warning('bad %s', session.id)",
        "logging.error(f'no {ticket}')",
        "self._log.debug('x', extra={'who': hash(actor.account)})",
        "_log.exception('for %s', request.email)",
    ],
)
def test_a_log_line_about_somebody_is_seen(plant: Plant, call: str) -> None:
    """Whatever form the log call has, what names somebody is found among its arguments."""
    (found,) = test_silence.logging_calls(plant(call))
    assert any(map(test_silence.SECRET.search, test_silence.names_in(found)))


def test_a_log_line_about_something_is_no_fault(plant: Plant) -> None:
    """Counts, words of the one list and places in code may be logged."""
    (found,) = test_silence.logging_calls(plant("_log.info('swept %d, %s', swept.messages, code.label)"))
    assert not any(map(test_silence.SECRET.search, test_silence.names_in(found)))


@pytest.mark.parametrize(
    ("amount", "timed"), [("0", False), ("1", True), ("0.01", True), ("2 * SECONDS", True), ("due", False)]
)
def test_a_fixed_sleep_is_seen(amount: str, *, timed: bool) -> None:
    """Zero is a checkpoint and a computed time is somebody's intention; a number is a guess."""
    assert test_waiting.is_time(ast.parse(amount, mode="eval").body) is timed


@pytest.mark.parametrize("name", ["elapsed", "took_ms", "boot_seconds", "latency"])
def test_a_stopwatch_is_seen(name: str) -> None:
    """The usual names of a measured time are known."""
    assert test_waiting.STOPWATCH.match(name)


@pytest.mark.parametrize("link", ["gone.md", "#nowhere", "there.md#nowhere", "../gone/"])
def test_a_broken_link_is_seen(tmp_path: Path, link: str) -> None:
    """A link to a page or heading that is not there is found; one to what is there, is not."""
    (tmp_path / "there.md").write_text("# A heading, `with` code\n", encoding="utf-8")
    page = tmp_path / "page.md"
    good = "[a](there.md) [b](there.md#a-heading-with-code) [c](https://example.org) [d](#here)"
    page.write_text(f"# Here\n{good} [bad]({link})\n```\n[not a link](x.md)\n```\n", encoding="utf-8")
    assert list(test_docs.broken(page)) == [link]


@pytest.mark.parametrize("path", ["/wor" + "k/main", "see /hom" + "e/ola/x", '"/roo' + 't/.ssh"', "/User" + "s/kari/x"])
def test_a_path_of_a_machine_is_seen(path: str) -> None:
    """Folders that exist on one machine only are found."""
    assert test_clone.MACHINE.search(path)


@pytest.mark.parametrize("path", ["docs/users/x", "homeland/x", "/v1/root", "~/x", "/tmp/varde", "/usr/lib"])
def test_a_path_of_every_machine_is_none(path: str) -> None:
    """Relative paths, routes and folders of the system may be named."""
    assert not test_clone.MACHINE.search(path)


@pytest.mark.parametrize(
    "text",
    [
        "waiting: set[Peer] = set()\nfor peer in waiting: pass",
        "def f(names: frozenset[str] | None):\n    return [name for name in names]",
        "class C:\n    def f(self):\n        self.peers: set[Peer] = set()\n        list(self.peers)",
        "def audience() -> set[Peer]: ...\nfor each in hub.audience(): pass",
        "print(*{a, b})",
    ],
)
def test_a_set_without_an_order_is_seen(plant: Plant, text: str) -> None:
    """Whether it is a variable, a parameter, an attribute, an answer or written out."""
    assert list(test_sets.unordered(plant(text)))


@pytest.mark.parametrize(
    "text",
    [
        "devices: set[DeviceId] = set()\nfor device in devices: pass",
        "peers: set[Peer] = set()\nany(peer.ready for peer in peers)\nsorted(peers)\npeers2 = {p for p in peers}",
    ],
)
def test_a_set_whose_order_is_always_the_same_may_be_gone_over(plant: Plant, text: str) -> None:
    """Ids hash alike in every process, and some questions have the same answer in any order."""
    assert list(test_sets.unordered(plant(text))) == []
