"""`ui`: Locust's own web page, with our charts added, over a fresh stack."""

from typing import Any, Final

import click

from loadtest.command.load_options import WORKERS_OPTION, load_options, options_of

_PORT: Final = 8089


@click.command(name="ui")
@click.argument("scenario", default="smoke")
@load_options(
    WORKERS_OPTION,
    click.option("--host", default="127.0.0.1", show_default=True, help="The address of the page."),
    click.option("--port", default=_PORT, show_default=True, type=click.IntRange(1, 65_535), help="Its port."),
)
def command(scenario: str, host: str, port: int, **given: Any) -> int:
    """Open a web page where SCENARIO can be started, watched and stopped, as often as one likes.

    The page is Locust's; below stand our charts, and a link to the report of the last run. It has no password: leave it
    on 127.0.0.1, or in a network of your own.
    """
    from loadtest.running.serving import serve  # noqa: PLC0415 - it patches the process

    return serve(options_of(scenario, given), (host, port))
