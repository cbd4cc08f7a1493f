"""The slash commands of a chat: each shows or changes something, none sends text."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from varde_cli.chat.view import HISTORY, ChatView
from varde_cli.names import check_name, find_profile
from varde_cli.run import Failure
from varde_contract.talk import ConversationKind

HISTORY_DIGITS: Final = 6


class SlashCommand(NamedTuple):
    """One command: how it is written, what it does, and the doing."""

    usage: str
    meaning: str
    run: Callable[[ChatView, str], Awaitable[None]]


async def run_slash_command(view: ChatView, line: str) -> None:
    """Run what a line says. An unknown command is answered with the known ones."""
    word, _, rest = line[1:].strip().partition(" ")
    command = COMMANDS.get(word)
    if command is None:
        view.screen.line(f"   there is no /{word}; /help lists what there is", dim=True)
        return
    try:
        await command.run(view, rest.strip())
    except Failure as failure:
        view.screen.line(f"   {failure}. {failure.advice}", fg="bright_red")


async def _help(view: ChatView, _rest: str) -> None:
    for command in COMMANDS.values():
        view.screen.line(f"   {command.usage:<18}{command.meaning}", dim=True)
    view.screen.line("   everything else is sent as it is", dim=True)


async def _quit(view: ChatView, _rest: str) -> None:
    view.over.set()


async def _members(view: ChatView, _rest: str) -> None:
    for member in view.conversation.members:
        state = view.seen.get(member.profile, "")
        view.screen.line(f"   {view.names.of(member.profile):<12}{member.role.value:<8}{member.profile}  {state}")


async def _history(view: ChatView, rest: str) -> None:
    # `isdigit` takes ² for one, and SQLite no number beyond 63 bits.
    if rest and not (rest.isascii() and rest.isdecimal() and len(rest) <= HISTORY_DIGITS):
        raise Failure("that is not a number of messages", "Write for example /history 50.")
    view.show_history(int(rest or HISTORY))


async def _invite(view: ChatView, rest: str) -> None:
    if not rest:
        raise Failure("whom?", "Write /invite and a contact's name, or @ and a user name.")
    if view.conversation.kind is not ConversationKind.GROUP:
        raise Failure("only a group takes more members", "Make one with: varde group create")
    await view.conversation.invite(await find_profile(view.client, rest))


async def _name(view: ChatView, rest: str) -> None:
    others = [each.profile for each in view.conversation.members if not view.names.is_mine(each.profile)]
    if not rest or len(others) != 1:
        raise Failure("that names nobody", "Write /name and a name in a chat of two; otherwise: varde contacts add")
    view.client.contacts.add(check_name(rest), others[0])
    view.screen.line(f"   from now on this is {rest}", dim=True)


async def _who(view: ChatView, _rest: str) -> None:
    view.screen.line(f"   conversation {view.conversation.id}")
    for mine in view.client.identity.profiles:
        view.screen.line(f"   you are {mine.id} ({mine.type})")
    for profile, state in view.seen.items():
        view.screen.line(f"   {view.names.of(profile)} is {state}")


COMMANDS: Final = {
    "help": SlashCommand("/help", "show this", _help),
    "quit": SlashCommand("/quit", "leave the chat (Ctrl-D does, too)", _quit),
    "members": SlashCommand("/members", "who is in it, and as what", _members),
    "history": SlashCommand("/history [count]", "show earlier messages", _history),
    "invite": SlashCommand("/invite <name>", "invite somebody into a group", _invite),
    "name": SlashCommand("/name <name>", "remember the other by a name, on this device", _name),
    "who": SlashCommand("/who", "who you are here, and who is there now", _who),
}
