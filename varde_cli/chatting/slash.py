"""What can be said to the chat itself: the commands that begin with a slash.

Each one shows or changes something through the room; none sends text.
"""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from varde_cli.chatting.room import HISTORY, Room
from varde_cli.exits import Failure
from varde_cli.naming import check_name
from varde_contract.talk import ConversationKind


class Slash(NamedTuple):
    """One command: how it is written, what it does, and the doing."""

    usage: str
    meaning: str
    run: Callable[[Room, str], Awaitable[None]]


async def obey(room: Room, line: str) -> None:
    """Run what a line says. An unknown command is answered with the known ones."""
    word, _, rest = line[1:].strip().partition(" ")
    command = COMMANDS.get(word)
    if command is None:
        room.screen.line(f"   there is no /{word}; /help lists what there is", dim=True)
        return
    try:
        await command.run(room, rest.strip())
    except Failure as failure:
        room.screen.line(f"   {failure}. {failure.advice}", fg="bright_red")


async def _help(room: Room, _rest: str) -> None:
    for command in COMMANDS.values():
        room.screen.line(f"   {command.usage:<18}{command.meaning}", dim=True)
    room.screen.line("   everything else is sent as it is", dim=True)


async def _quit(room: Room, _rest: str) -> None:
    room.over.set()


async def _members(room: Room, _rest: str) -> None:
    for member in room.conversation.members:
        state = room.seen.get(member.profile, "")
        room.screen.line(f"   {room.names.of(member.profile):<12}{member.role.value:<8}{member.profile}  {state}")


async def _history(room: Room, rest: str) -> None:
    if rest and not rest.isdigit():
        raise Failure("that is not a number of messages", "Write for example /history 50.")
    room.show_history(int(rest or HISTORY))


async def _add(room: Room, rest: str) -> None:
    if not rest:
        raise Failure("whom?", "Write /add and a contact's name or an address.")
    if room.conversation.kind is not ConversationKind.GROUP:
        raise Failure("only a group takes more members", "Make one with: varde group create")
    await room.conversation.add(room.names.profile(rest))


async def _name(room: Room, rest: str) -> None:
    others = [each.profile for each in room.conversation.members if not room.names.is_mine(each.profile)]
    if not rest or len(others) != 1:
        raise Failure("that names nobody", "Write /name and a name in a chat of two; otherwise: varde contacts add")
    room.client.contacts.add(check_name(rest), others[0])
    room.screen.line(f"   from now on this is {rest}", dim=True)


async def _who(room: Room, _rest: str) -> None:
    room.screen.line(f"   conversation {room.conversation.id}")
    for mine in room.client.identity.profiles:
        room.screen.line(f"   you are {mine.id} ({mine.type})")
    for profile, state in room.seen.items():
        room.screen.line(f"   {room.names.of(profile)} is {state}")


COMMANDS: Final = {
    "help": Slash("/help", "show this", _help),
    "quit": Slash("/quit", "leave the chat (Ctrl-D does, too)", _quit),
    "members": Slash("/members", "who is in it, and as what", _members),
    "history": Slash("/history [count]", "show earlier messages", _history),
    "add": Slash("/add <name>", "add somebody to a group", _add),
    "name": Slash("/name <name>", "remember the other by a name, on this device", _name),
    "who": Slash("/who", "who you are here, and who is there now", _who),
}
