"""The slash commands of a chat: each shows or changes something, none sends text."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol

from varde_cli.chat.remote import Remote
from varde_cli.names import check_name
from varde_cli.run import Failure
from varde_contract.ids import ConversationId

HISTORY: Final = 20
_MOST: Final = 6
"""Digits of a number of messages: SQLite takes none beyond 63 bits, and nobody reads a million."""


class View(Protocol):
    """The chat that a command is written in."""

    def end(self, how: int) -> None:
        """End it."""

    async def show_history(self, conversation: ConversationId, count: int) -> None:
        """Show the last messages, so many."""


class Context(NamedTuple):
    """What a command works on."""

    chat: View
    remote: Remote
    conversation: ConversationId


HISTORY_DIGITS: Final = 6


class SlashCommand(NamedTuple):
    """One command: how it is written, what it does, and the doing, which returns what is to be shown."""

    usage: str
    meaning: str
    run: Callable[[Context, str], Awaitable[Sequence[str]]]


def command_of(text: str) -> tuple[str | None, str]:
    """Tell commands from messages: return a command without its slash, or None, and what is to be sent.

    A message that begins with a slash is written with two.
    """
    if text.startswith("//"):
        return None, text[1:]
    return (text[1:], "") if text.startswith("/") else (None, text)


async def run_slash_command(context: Context, command: str) -> Sequence[str]:
    """Run what stands behind a slash, and return lines to show. Raises Failure, VardeError."""
    word, _, rest = command.strip().partition(" ")
    found = COMMANDS.get(word)
    if found is None:
        first = word.split("\n")[0]
        raise Failure(f"there is no /{first}", "/help lists what there is; // begins a message with a slash")
    return await found.run(context, rest.strip())


async def _help(_context: Context, _rest: str) -> Sequence[str]:
    lines = [f"{command.usage:<18}{command.meaning}" for command in COMMANDS.values()]
    return [*lines, "//...             a message that begins with /", "everything else is sent as it is"]


async def _quit(context: Context, _rest: str) -> Sequence[str]:
    context.chat.end(0)
    return ()


async def _members(context: Context, _rest: str) -> Sequence[str]:
    members = await context.remote.members(context.conversation)
    return [f"{each.name:<12}{each.role.value:<8}{each.profile}" for each in members]


async def _history(context: Context, rest: str) -> Sequence[str]:
    # `isdigit` takes ² for one.
    if rest and not (rest.isascii() and rest.isdecimal() and len(rest) <= _MOST):
        raise Failure("that is not a number of messages", "Write for example /history 50.")
    await context.chat.show_history(context.conversation, int(rest or HISTORY))
    return ()


async def _name(context: Context, rest: str) -> Sequence[str]:
    mine = (await context.remote.whoami()).mine
    others = [each for each in await context.remote.members(context.conversation) if each.profile not in mine]
    if not rest or len(others) != 1:
        raise Failure("that names nobody", "Write /name and a name in a chat of two; otherwise: varde contacts add")
    await context.remote.add_contact(check_name(rest), others[0].profile)
    return [f"from now on this is {rest}"]


async def _who(context: Context, _rest: str) -> Sequence[str]:
    mine = (await context.remote.whoami()).mine
    return [f"conversation {context.conversation}", *(f"you are {each}" for each in mine)]


async def _invite(context: Context, rest: str) -> Sequence[str]:
    if not rest:
        raise Failure("whom?", "Write /invite and a contact's name, or @ and a user name.")
    await context.remote.invite(context.conversation, rest)
    return [f"{rest} is invited"]


async def _reconnect(context: Context, _rest: str) -> Sequence[str]:
    await context.remote.reconnect()
    return ()


COMMANDS: Final = {
    "help": SlashCommand("/help", "show this", _help),
    "quit": SlashCommand("/quit", "leave the chat (Ctrl-D does, too)", _quit),
    "members": SlashCommand("/members", "who is in it, and as what", _members),
    "history": SlashCommand("/history [count]", "show earlier messages", _history),
    "invite": SlashCommand("/invite <name>", "invite somebody into a group", _invite),
    "name": SlashCommand("/name <name>", "remember the other by a name, on this device", _name),
    "who": SlashCommand("/who", "which conversation this is, and who you are in it", _who),
    "reconnect": SlashCommand("/reconnect", "try to connect now", _reconnect),
}
