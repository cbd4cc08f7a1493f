"""The chat of a pipe: every line is sent, what comes is printed, and nothing is ever erased."""

import asyncio
import io
import os

import pytest

from tests.cli.chat.memory_rpc import BOB, CAROL, GROUP, ME, WITH_BOB, MemoryRpc
from varde.events import Connected, Disconnected
from varde_cli.chat.plain import PlainChat, read_lines
from varde_cli.chat.remote import Changed, Remote
from varde_cli.run import describe
from varde_contract.exception_groups import single_cause


def chat(rpc: MemoryRpc, lines: bytes, who: str | None = "bob") -> str:
    """Run a chat with this input to its end, and return what it printed."""
    reading, writing = os.pipe()
    os.write(writing, lines)
    os.close(writing)
    out = io.StringIO()

    async def run() -> int:
        return await PlainChat(Remote(rpc), out, reading).run(who)

    try:
        assert asyncio.run(run()) == 0
    finally:
        os.close(reading)
    return out.getvalue()


def home() -> MemoryRpc:
    """A home in which Bob has written."""
    rpc = MemoryRpc()
    rpc.written("from bob")
    return rpc


def test_every_line_is_sent_and_shown_with_its_mark() -> None:
    """Empty ones are not; the history comes first, and is read with that."""
    rpc = home()
    shown = chat(rpc, b"one\n\n//two\nthree")
    assert [each.text for each in rpc.messages[WITH_BOB] if each.mine] == ["one", "/two", "three"]
    assert "\x1b" not in shown
    assert shown.index("from bob") < shown.index("── now") < shown.index("one ✓") < shown.index("/two ✓")
    assert rpc.read[WITH_BOB] == 1


def test_what_happens_is_a_line() -> None:
    """Messages, what is done to them, and the connection."""
    rpc = home()
    message = rpc.messages[WITH_BOB][0]
    rpc.push(Disconnected("timeout", 3.0))
    rpc.push(Connected(reconnected=True))
    rpc.say("\x1b[2Jlive")
    rpc.say("elsewhere", by=CAROL, where=GROUP)
    for kind in ("reaction", "edited", "deleted"):
        change = Changed(conversation=WITH_BOB, type=kind, target=message.ref, profile=BOB, emoji="👍", text="better")
        rpc.push(change)
    shown = chat(rpc, b"/members\n/members\n")
    for line in ("offline", "online again", "�[2Jlive", "wrote in another", "bob put 👍", "changed a message: better"):
        assert line in shown
    assert "bob deleted a message" in shown


@pytest.mark.parametrize("count", ["²", "99999999999999999999", "-1", "x", "1000000"])
def test_a_count_that_is_none_ends_nothing(count: str) -> None:
    """It is said to be none, and the next line is sent."""
    rpc = home()
    shown = chat(rpc, f"/history {count}\nstill here\n".encode())
    assert "that is not a number of messages" in shown
    assert "still here ✓" in shown


def test_more_history_is_shown_when_asked_for() -> None:
    """As many as one says."""
    rpc = MemoryRpc()
    for number in range(40):
        rpc.written(f"message {number}.")
    shown = chat(rpc, b"/history 30\n")
    assert shown.count("message 39.") == 2
    assert shown.count("message 10.") == 1
    assert "message 9." not in shown


def test_what_is_no_text_is_not_sent() -> None:
    """Half of it replaced would be worse than nothing."""
    rpc = home()
    shown = chat(rpc, b"bl\xe5b\xe6r\nok\n")
    assert "was not sent" in shown
    assert rpc.messages[WITH_BOB][-1].text == "ok"
    assert len(rpc.messages[WITH_BOB]) == 2


def test_what_is_refused_is_told_and_the_rest_goes_on() -> None:
    """An unknown command and a refused message are a line each."""
    rpc = home()
    rpc.refuse = "the text is too long for one message"
    shown = chat(rpc, b"/nonsense\nlong\n/quit\nnever")
    assert "there is no /nonsense" in shown
    assert "the text is too long" in shown
    assert rpc.calls["send"] == 1


def test_without_a_name_the_only_conversation_is_opened() -> None:
    """Of several one is to be named."""
    with pytest.raises(ExceptionGroup) as raised:
        chat(home(), b"", who=None)
    assert "several conversations" in describe(single_cause(raised.value))
    rpc = home()
    del rpc.messages[GROUP]
    assert "from bob" in chat(rpc, b"", who=None)


def test_lines_of_a_pipe_come_whole_and_end_with_it() -> None:
    """However the bytes arrive: lines come out whole, the last one also without an end, and broken text is no end."""
    reading, writing = os.pipe()
    os.write(writing, b"one\r\ntw")

    async def run() -> list[str]:
        lines = read_lines(reading)
        got = [await anext(lines)]
        os.write(writing, "o\n\n\N{SNOWMAN}".encode() + b"\xff")
        os.close(writing)
        return got + [line async for line in lines]

    assert asyncio.run(run()) == ["one", "two", "", "☃\udcff"]
    os.close(reading)


def test_own_messages_of_other_devices_are_shown_once() -> None:
    """What this chat sends is shown when it is stored, and not again when it comes."""
    rpc = home()
    rpc.say("from the phone", by=ME)
    shown = chat(rpc, b"/members\n/members\n")
    assert shown.count("from the phone ✓") == 1
