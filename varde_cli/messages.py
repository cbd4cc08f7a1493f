"""`varde send` and `varde listen`, for scripts: one message out, and everything that comes in as JSON lines."""

import click
import trio

import varde
from varde.events import (
    ContactShared,
    Gap,
    HistoryLost,
    MembershipChange,
    Message,
    TranscriptBroken,
    Undecryptable,
    Unknown,
    Unsent,
)
from varde_cli.names import Names, find_conversation, find_profile, load_members, open_conversation
from varde_cli.options import Home, home_options
from varde_cli.output import json_option, print_json
from varde_cli.rpc.methods import what_it_waits_for
from varde_cli.run import Exit, Failure, run_connected
from varde_cli.streams import read_input

_PATIENCE = 60.0
_UNANSWERED = 2.0  # seconds for the text to be stored, and for an answer that is just coming

_KEPT = (Message, ContactShared, Unknown, MembershipChange, Gap, Undecryptable, TranscriptBroken, HistoryLost, Unsent)


@click.command()
@click.argument("to")
@click.argument("words", nargs=-1)
@click.option("--as", "as_profile", metavar="MODE", help="Write as this profile of yours: PRIVAT, JOBB or its address.")
@click.option(
    "--contact", metavar="NAME", help="Pass a contact of yours on, in place of a message, and vouch for them."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=86_400),
    default=_PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the server to store it.",
)
@json_option
@home_options()
def send(
    home: Home,
    to: str,
    words: tuple[str, ...],
    *,
    as_profile: str | None,
    contact: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Send one message and wait until it is stored.

    TO is as in `varde chat`. Without WORDS the message is read from standard input. Somebody you write to for the first
    time has to accept first: the message then waits on this device, and goes out the next time varde runs after that.
    So does one that the server has not stored in time: exit code 3 then, and it must not be sent again.

    Examples:
      varde send bob "see you at eight"
      uptime | varde send self
      varde send bob --contact kari
    """
    if contact is not None and words:
        raise click.UsageError("A contact is passed on by itself: send the words in a message of their own.")
    text = "" if contact is not None else " ".join(words) if words else read_input().rstrip("\n")
    if contact is None and not text.strip():
        raise Failure("there is nothing to send", "give the message as words, or on standard input")

    async def run(client: varde.Client) -> int:
        conversation = await open_conversation(client, Names(client), to, as_profile)
        person = None if contact is None else await find_profile(client, contact)
        await load_members(conversation)  # with that known, it is queued at once and stays so, however long it waits
        sent = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say_what_it_waits_for, client, conversation)
            with trio.move_on_after(min(timeout, _UNANSWERED) if conversation.waiting else timeout):
                if person is None:
                    sent = await conversation.send(text)
                else:
                    sent = await conversation.share_contact(person, _called(str(contact)))
            nursery.cancel_scope.cancel()
        waits_for = None if sent is not None else what_it_waits_for(client, conversation)
        if as_json:
            print_json({"conversation": conversation.id, "sent": sent, "waits_for": waits_for})
        else:
            queued = "waits until they accept" if conversation.waiting else f"queued: waits for {waits_for}"
            click.echo(f"sent as number {sent.seq}" if sent is not None else queued)
        return Exit.OK if sent is not None or conversation.waiting else Exit.QUEUED

    return run_connected(home, run)


async def _say_what_it_waits_for(client: varde.Client, conversation: varde.Conversation) -> None:
    await trio.sleep(_UNANSWERED)
    click.echo(f"waiting for {what_it_waits_for(client, conversation)} ...", err=True)


def _called(contact: str) -> str | None:
    # A user name is as good a name as any; the end of an address is none.
    return contact.removeprefix("@") if contact.startswith("@") else None


@click.command()
@click.option("--conversation", metavar="CONVERSATION", help="Only the messages of this one.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after so many lines.")
@click.option("--all", "everything", is_flag=True, help="Also what passes: receipts, typing, presence, the connection.")
@home_options()
def listen(home: Home, *, conversation: str | None, count: int | None, everything: bool) -> None:
    """Print what comes in, one line of JSON each, as it comes.

    First what came while nobody listened, then live. Each message is printed once: one whose line was printed is not
    printed by the next `varde listen`. The field `type` says what a line is: message, unknown, membership-change, gap,
    undecryptable, transcript-broken, unsent, and with --all also receipt, typing, presence, connected, disconnected,
    not-joined, roster-change, withheld, requests-changed.

    Examples:
      varde listen --count 1
      varde listen | jq -r 'select(.type == "message") | .text'
    """

    async def run(client: varde.Client) -> None:
        left = count
        stream = client.events() if conversation is None else await find_conversation(client, conversation)
        async for event in stream:
            if not everything and not isinstance(event, _KEPT):
                continue
            print_json(event)
            left = None if left is None else left - 1
            if left == 0:
                return

    run_connected(home, run)
