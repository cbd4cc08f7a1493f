"""The full-screen chat, driven by its keys and judged by what stands on the terminal."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.cli.chat.memory_rpc import BOB, CAROL, GROUP, ME, WITH_BOB, MemoryRpc
from tests.cli.chat.person import PATIENCE_S, Person, open_chat
from varde.events import Connected, Disconnected, Receipt, RosterChange, Typing
from varde_cli.chat.remote import Changed
from varde_cli.run import Failure

UP, DOWN, PAGE_UP, PAGE_DOWN, ESC = "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\x1b"
ALT_ENTER = "\x1b\r"


def chat(
    story: Callable[[Person, MemoryRpc], Awaitable[None]],
    rpc: MemoryRpc | None = None,
    who: str | None = "bob",
    **size: int,
) -> None:
    """Run a story before a chat."""

    async def run() -> None:
        with_rpc = rpc or MemoryRpc()
        async with open_chat(with_rpc, who, **size) as person:
            await story(person, with_rpc)

    asyncio.run(run())


def sent(rpc: MemoryRpc) -> list[str]:
    """What was sent to Bob."""
    return [each.text for each in rpc.messages[WITH_BOB] if each.mine]


def pasted(text: str) -> str:
    """What a terminal sends for a paste."""
    return f"\x1b[200~{text}\x1b[201~"


@pytest.mark.parametrize(
    "paste",
    [pasted("one\rtwo\rthree\r"), pasted("one\ntwo\nthree\n"), "one\rtwo\rthree\r"],
    ids=["bracketed", "bracketed with line feeds", "a terminal that does not say so"],
)
def test_what_is_pasted_stays_in_the_input(paste: str) -> None:
    """Several lines are one message, which waits for Enter; what others write meanwhile stays on the screen."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        person.type(paste)
        for text in ("first of bob", "second of bob", "third of bob"):
            rpc.say(text)
            person.type("x")
        await person.see("first of bob", "second of bob", "third of bob", "three")
        assert sent(rpc) == []
        person.type("\r")
        await person.see("one", "two", "three", "xxx ✓")
        await person.see("first of bob", "second of bob", "third of bob")
        assert sent(rpc) == ["one\ntwo\nthree\nxxx"]

    chat(story)


def test_what_waits_hides_nothing() -> None:
    """Typed while offline: it stands below all that comes meanwhile, with its own mark, until it is stored."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        rpc.held.clear()
        for text in ("mine one", "mine two"):
            await person.see("bob")
            person.type(text)
            person.type("\r")
            await person.see(f"{text} …")
        rpc.say("of bob")
        screen = await person.see("of bob")
        assert screen.index("of bob", screen.index("│")) < screen.index("mine one") < screen.index("mine two")
        await person.see("waits here, and goes out by itself")
        rpc.held.set()
        await person.see("mine one ✓", "mine two ✓", "of bob")

    chat(story)


def test_what_waits_for_an_acceptance_is_shown_as_stored_once_it_is() -> None:
    """Nobody else's words are taken for it."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        rpc.unaccepted = True
        person.type("hello\r")
        await person.see("hello …", "waits here until they accept")
        rpc.say("hello")
        await person.see("bob        hello", "hello …")
        rpc.written("hello", by=ME)
        await person.see("you        hello ✓")
        await person.miss("hello …")

    chat(story)


def test_a_message_may_have_lines_and_begin_with_a_slash() -> None:
    """Alt-Enter is a new line. Two slashes are one that is sent; what is no command is said to be none, and kept."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        for text in (f"a{ALT_ENTER}b", "//etc/hosts"):
            person.type(text)
            await person.see(f"> {text[0]}")
            person.type("\r")
            await person.see("✓")
        await person.see("/etc/hosts ✓")
        assert sent(rpc) == ["a\nb", "/etc/hosts"]
        person.type("/etc/passwd")
        person.type("\r")
        await person.see("there is no /etc/passwd", "> /etc/passwd")
        assert sent(rpc) == ["a\nb", "/etc/hosts"]

    chat(story)


@pytest.mark.parametrize(("keys", "code"), [("\x03", 130), ("\x04", 0), ("/quit\r", 0)])
def test_it_ends_when_told_to(keys: str, code: int) -> None:
    """Ctrl-C with 130, Ctrl-D and /quit with 0."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        await person.see("bob")
        person.type(keys)
        assert await person.running == code

    chat(story)


def test_it_ends_when_the_client_does() -> None:
    """Why is told to whoever started it."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        rpc.push(Failure("this device was revoked"))
        with pytest.raises(Failure, match="revoked"):
            await person.running

    with pytest.raises(Failure, match="revoked"):
        chat(story)


def test_nobody_of_that_name_is_told_at_once() -> None:
    """A name that is not known ends the chat before it begins."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        with pytest.raises(Failure):
            await person.running

    with pytest.raises(Failure, match="nobody named 'bbo'"):
        chat(story, who="bbo")


def test_history_is_loaded_page_by_page() -> None:
    """PageUp goes back to the first message; what comes meanwhile moves nothing; Esc shows the newest again."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("message 199")
        for _ in range(600):
            if "message 0." in person.screen:
                break
            person.type(PAGE_UP)
            await asyncio.sleep(0.05)  # pages are loaded meanwhile: where there is none yet, the key does nothing
        before = await person.see("message 0.")
        rpc.say("while you look back")
        await person.see("bob", "while you look ba")
        assert [line[27:] for line in person.screen.split("\n")[:20]] == [line[27:] for line in before.split("\n")[:20]]
        person.type(ESC)
        await person.look(lambda screen: "bob        while you look back" in screen, "the newest")
        assert rpc.read[WITH_BOB] == 201

    rpc = MemoryRpc()
    for number in range(200):
        rpc.written(f"message {number}.")
    chat(story, rpc)
    assert rpc.calls["history"] >= 4


def test_a_message_is_replied_to_changed_and_deleted() -> None:
    """In the selection one key each; somebody else's message cannot be changed; to delete takes the key twice."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("shall we go?")
        person.type(UP)
        await person.see("r reply")
        person.type("r")
        await person.see("reply>")
        person.type("yes\r")
        await person.see("│ bob: shall we go?", "yes ✓")
        person.type(UP)
        person.type("e")
        await person.see("edit> yes")
        person.type(", at eight\r")
        await person.see("yes, at eight (edited) ✓")
        person.type(UP)
        person.type("d")
        await person.see("d again deletes it for everybody")
        assert not rpc.messages[WITH_BOB][-1].deleted
        person.type("d")
        await person.see("deleted")
        person.type(UP)
        person.type(UP)
        person.type("e")
        await person.see("only your own messages can be changed")

    rpc = MemoryRpc()
    rpc.written("shall we go?")
    chat(story, rpc)


def test_a_reaction_is_put_on_and_taken_away() -> None:
    """A number stands for one of six; any other emoji can be typed; the same again takes it away."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        await person.see("tea?")
        person.type(f"{UP}+")
        await person.see("1 👍")
        person.type("1")
        await person.see("👍 you")
        person.type(f"{UP}+")
        await person.see("react>")
        person.type("1")
        await person.miss("👍 you")
        person.type(f"{UP}+")
        await person.see("react>")
        person.type("🫖\r")
        await person.see("🫖 you")

    rpc = MemoryRpc()
    rpc.written("tea?")
    chat(story, rpc)


def test_a_thread_is_a_view_of_its_own() -> None:
    """The root says how many answers it has; in the thread there are only these, and what is written goes there."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("▸ 2 replies", "elsewhere", "↳ in a thread")
        person.type(f"{UP}{UP}{UP}{UP}t")
        await person.see("bob · thread")
        await person.miss("elsewhere  ", "│12:02 bob        elsewhere")
        person.type("third answer\r")
        await person.see("third answer ✓")
        assert rpc.messages[WITH_BOB][-1].thread == root.ref
        person.type(ESC)
        await person.look(lambda screen: "bob        elsewhere" in screen, "all messages")

    rpc = MemoryRpc()
    root = rpc.written("root")
    rpc.written("elsewhere")
    rpc.written("one answer", thread=root.ref)
    rpc.written("another answer", thread=root.ref)
    chat(story, rpc)


def test_marks_say_how_far_a_message_has_come() -> None:
    """Stored, delivered to everybody, read by everybody: the last in another colour."""

    def read(person: Person) -> bool:
        terminal = person.terminal.screen
        row = next(y for y, line in enumerate(terminal.display) if "here ✓✓" in line)
        return terminal.buffer[row][terminal.display[row].index("✓✓")].bold

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("here ✓")
        rpc.push(Receipt(GROUP, BOB, 1, read=True))
        rpc.push(Receipt(GROUP, CAROL, 1, read=False))
        await person.see("here ✓✓")
        assert not read(person)
        rpc.push(Receipt(GROUP, CAROL, 1, read=True))
        await person.look(lambda _: read(person), "the mark of a read message")

    rpc = MemoryRpc()
    rpc.written("here", by=ME, where=GROUP)
    chat(story, rpc, who="hiking")


def test_what_happens_while_something_is_loaded_stays() -> None:
    """The list is loaded anew, and a receipt comes before it is there."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("here ✓")
        rpc.listed.clear()
        rpc.listing.clear()
        rpc.push(RosterChange(WITH_BOB, 2, (), (), (), ()))
        await asyncio.wait_for(rpc.listing.wait(), PATIENCE_S)
        rpc.push(Receipt(WITH_BOB, BOB, 1, read=True))
        await person.see("here ✓✓")
        rpc.listed.set()
        rpc.say("after it")
        await person.see("after it", "here ✓✓")

    rpc = MemoryRpc()
    rpc.written("here", by=ME)
    chat(story, rpc)


def test_the_picker_shows_what_is_new_and_is_filtered() -> None:
    """Names, unread counts and last messages; letters filter, arrows choose, Enter opens; then it is read."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob", "hiking", "see you there", " 2 ")
        assert rpc.read == {}
        person.type("HIK")
        await person.see("find> HIK")
        await person.miss("bob")
        person.type("\r")
        await person.see("── unread", "carol      see you there", "bob")
        assert rpc.read == {GROUP: 3}
        person.type(ESC)
        await person.see("find>")
        person.type(f"{DOWN}\r")
        await person.see("from bob alone")
        rpc.say("again", by=CAROL, where=GROUP)
        await person.see(" 1 ", "again")

    rpc = MemoryRpc()
    rpc.written("begun", by=ME, where=GROUP)
    rpc.written("when?", where=GROUP)
    rpc.written("see you there", by=CAROL, where=GROUP)
    rpc.written("from bob alone", by=ME)
    chat(story, rpc, who=None)


def test_who_types_is_shown_and_shows_it() -> None:
    """A command is nobody's business, and who has emptied the line has stopped."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        rpc.push(Typing(WITH_BOB, BOB, active=True))
        await person.see("bob typing …")
        rpc.push(Typing(WITH_BOB, BOB, active=False))
        await person.miss("typing …")
        person.type("/mem")
        await person.see("> /mem")
        assert rpc.typed == []
        person.type("\x15hello")
        await person.see("> hello")
        person.type("\x15")
        await person.look(lambda _: rpc.typed == [True, False], "typing, and no more")

    chat(story)


def test_the_connection_is_in_the_status_line() -> None:
    """Offline it says when the next try is, and the key that tries now."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("● online")
        rpc.push(Disconnected("timeout", 40.0))
        await person.see("○ offline, next try in 40 s · Ctrl-R now")
        await person.see("next try in 39 s")
        person.type("\x12")
        await person.look(lambda _: rpc.calls["reconnect"] == 1, "a try")
        rpc.push(Connected(reconnected=True))
        await person.see("● online")

    chat(story)


def test_what_is_refused_is_told_and_kept() -> None:
    """The text comes back into the input."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        rpc.refuse = "the text is too long for one message"
        person.type("a long story\r")
        await person.see("the text is too long for one message", "> a long story")

    chat(story)


def test_what_is_typed_at_once_is_not_lost() -> None:
    """Before the conversation is there it is not sent, and not taken for something else."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("Enter send")
        person.type("early")
        await person.see("> early")
        rpc.opened.set()
        await person.see("▌bob", "> early")
        person.type(" bird\r")
        await person.see("early bird ✓")
        assert sent(rpc) == ["early bird"]

    rpc = MemoryRpc()
    rpc.opened.clear()
    rpc.written("from bob")
    chat(story, rpc)


def test_a_draft_stays_with_its_conversation() -> None:
    """What is half typed is there again after a look into another conversation."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("bob")
        person.type("half a line")
        await person.see("> half a line")
        person.type("\x0e")
        await person.see("▌hiking")
        await person.miss("half a line")
        person.type("\x0e")
        await person.see("▌bob", "> half a line")
        assert sent(rpc) == []

    chat(story)


def test_search_goes_to_what_it_found_however_old() -> None:
    """The page around it is loaded, not all between; Esc is back at the newest."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        await person.see("message 399")
        person.type("\x06")
        await person.see("search>")
        person.type("needle\r")
        await person.see("1 found", "the needle")
        person.type("\r")
        await person.see("bob        the needle", "message 3.")
        rpc.say("newest")
        await person.see("newest")
        for text in ("message 29.", "message 40."):
            person.type(PAGE_DOWN)
            await person.see(text)
        person.type(ESC)
        await person.look(lambda screen: "bob        newest" in screen, "the newest")
        person.type("\x06")
        await person.see("search>")
        person.type("nowhere\r")
        await person.see("nothing found for 'nowhere'")

    rpc = MemoryRpc()
    for number in range(400):
        rpc.written("the needle" if number == 5 else f"message {number}.")
    chat(story, rpc)
    assert rpc.calls["history"] < 8


def test_names_and_commands_are_completed() -> None:
    """Tab, at the beginning for commands and anywhere for names."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        await person.see("hiking")
        person.type("/mem\t")
        await person.see("> /members")
        person.type("\x15hello @car\t")
        await person.see("> hello @carol")

    chat(story, who="hiking")


def test_a_window_of_any_size_shows_what_it_can() -> None:
    """20 columns and 5 rows show the newest message and the input; enlarged, all is there again."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        before = await person.see("the first", "the second")
        person.type("typed")
        await person.see("> typed")
        for columns, lines in ((20, 5), (10, 3), (1, 1), (20, 5)):
            person.resize(columns, lines)
        await person.see("the second", "> typed")
        person.resize(100, 24)
        after = await person.see("the first", "the second", "> typed")
        assert after.split("\n")[:20] == before.split("\n")[:20]

    rpc = MemoryRpc()
    rpc.written("the first")
    rpc.written("the second")
    chat(story, rpc)


def test_without_colour_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves bold and reverse."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        await person.see("from bob")
        cells = [cell for row in person.terminal.screen.buffer.values() for cell in row.values()]
        assert {cell.fg for cell in cells} == {cell.bg for cell in cells} == {"default"}
        assert any(cell.reverse for cell in cells)

    rpc = MemoryRpc()
    rpc.written("from bob")
    chat(story, rpc)


def test_what_a_stranger_wrote_cannot_command_the_terminal() -> None:
    """Controls and directional overrides are replaced, in messages, names and reactions; emoji stay whole."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        rpc.say("\x1b[2J\x9b31m\x07 \u202eevil \u2066x\u2069\r\nnext")
        await person.see("�[2J�31m� �evil �x�", "next")
        family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
        rpc.say(f"{family} \u00a0 \U0001f1f3\U0001f1f4 ❤️ e\u0301nd")
        shown = await person.see(family, "\U0001f1f3\U0001f1f4", "❤️", "\u00e9nd")  # pyte composes
        assert "�" not in next(line for line in shown.split("\n") if "nd" in line and family in line)

    chat(story)


def test_a_very_long_message_is_paged_through() -> None:
    """40,000 characters, longer than any screen: from its end to its beginning, row by row."""

    async def story(person: Person, _rpc: MemoryRpc) -> None:
        await person.see("word-5999")
        for _ in range(400):
            person.type(PAGE_UP)
        await person.see("word-0 ", "before it")

    rpc = MemoryRpc()
    rpc.written("before it")
    rpc.written(" ".join(f"word-{number}" for number in range(6_000)))
    chat(story, rpc)


def test_what_others_change_is_changed_here() -> None:
    """The client judges; the screen shows what it says now."""

    async def story(person: Person, rpc: MemoryRpc) -> None:
        old = rpc.say("at eight")
        await person.see("bob        at eight")
        await rpc._edit(str(WITH_BOB), old.ref, "at nine")
        edited = Changed(conversation=WITH_BOB, type="edited", target=old.ref, profile=BOB, text="not this")
        rpc.push(edited)
        await person.see("at nine (edited)")

    chat(story)
