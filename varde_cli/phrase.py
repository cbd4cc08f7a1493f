"""`varde phrase`: another recovery phrase, with the old one, or where it is lost with all managers and seven days."""

import click

import varde
from varde_cli.devices import phrase_option
from varde_cli.options import Home, home_options
from varde_cli.output import program_name
from varde_cli.recovery_phrase import ask_phrase, hand_over_phrase
from varde_cli.run import run_connected


@click.group()
def phrase() -> None:
    """Your recovery phrase: replace it, also when it is lost.

    Examples:
      varde phrase replace
      varde phrase lost
      varde phrase finish
    """


@phrase.command()
@home_options()
def replace(home: Home) -> None:
    """Replace the phrase at once, for example one that somebody may have read. The old one signs that."""
    words = ask_phrase("The old 24 words")
    hand_over_phrase(run_connected(home, lambda client: client.own_list.change_recovery_phrase(words)), ask=True)


@phrase.command()
@click.confirmation_option(prompt="Announce a new phrase to everybody you write with?", help="Do not ask.")
@home_options()
def lost(home: Home) -> None:
    """Announce a new phrase, because the old one is lost.

    All managers among your devices sign that, within an hour. The new phrase works after seven days. Until then any
    manager, or whoever has the old phrase, may cancel it. Everybody who writes to you is told.
    """
    announced = run_connected(home, lambda client: client.own_list.announce_root_key())
    # Shown before it is in force, and also when others must sign first: no later command can show it.
    hand_over_phrase(announced.recovery_phrase or "", ask=False)
    _show(announced)


@phrase.command()
@click.argument("code")
@home_options()
def sign(home: Home, code: str) -> None:
    """Sign the new phrase of CODE, which `varde phrase lost` has shown on another manager of yours."""
    _show(run_connected(home, lambda client: client.own_list.sign_root_key(code)))


@phrase.command()
@phrase_option
@home_options()
def cancel(home: Home, *, phrase: bool) -> None:
    """Take back a new phrase that is announced."""
    words = ask_phrase() if phrase else None
    run_connected(home, lambda client: client.own_list.cancel_root_key(words))
    click.echo("No new phrase is announced.")


@phrase.command()
@home_options()
def finish(home: Home) -> None:
    """Let the new phrase be the only one, after its seven days. Logging in with it does so, too."""
    words = ask_phrase("The new 24 words")
    run_connected(home, lambda client: client.own_list.finish_root_key(words))
    click.echo("The old phrase is nothing any more.")


def _show(announced: varde.RootKeyAnnouncement) -> None:
    if announced.code is None:
        click.echo("\nAnnounced. The new phrase works in seven days.")
        return
    click.echo("\nNot announced yet. These devices of yours must sign, too, within the hour:")
    for device in announced.missing:
        click.echo(f"    {device}")
    click.echo(f"On the next one:\n\n{program_name()} phrase sign {announced.code}")
