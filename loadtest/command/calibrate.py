"""`python -m loadtest calibrate`: what the generator can do by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from loadtest.command.exits import CouldNotRun

if TYPE_CHECKING:
    from loadtest.watch.calibration import Calibration

_FILE: Final = "calibration.json"


@click.command(name="calibrate")
@click.option("--users", type=click.IntRange(min=2), default=1000, show_default=True, help="Users of the one worker.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.5), default=3.0, show_default=True, help="For each rate that is tried."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/load"),
    show_default=True,
    help=f"Folder of {_FILE}.",
)
def command(*, users: int, seconds: float, out: Path) -> None:
    """Measure one worker of the generator against a server that speaks the protocol and does nothing else.

    Says how many messages a second it can make before it is the bottleneck itself, and what a connection costs it.
    """
    from loadtest.watch.calibration import CalibrationFault, calibrate  # noqa: PLC0415 - it brings in gevent
    from loadtest.watch.null.running import NullServerFault  # noqa: PLC0415 - the same

    out.mkdir(parents=True, exist_ok=True)
    try:
        found = calibrate(users, seconds, out, click.echo)
    except (CalibrationFault, NullServerFault) as fault:
        raise CouldNotRun(str(fault)) from fault
    path = out / _FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    click.echo(told(found))
    click.echo(f"written to {path}")


def told(found: "Calibration") -> str:
    """Return the figures in words."""
    users = f"{found.users:,} users cost {found.idle_cpu_percent:.1f} % of a core, {found.kib_per_user:.0f} KiB each"
    lines = [
        "",
        "one worker process can do by itself:",
        f"  connects   {found.connects_per_second:,.0f}/s as they went, {found.connect_cpu_us:,.0f} us of CPU each",
        f"  idle       {users}",
    ]
    if found.messages_per_second is None:
        return "\n".join((*lines, "  messages   not even the first rate went well: see what else runs here"))
    lines.append(
        f"  messages   {found.messages_per_second:,.0f}/s at 90 % of a core, {found.message_cpu_us:.0f} us of CPU each"
    )
    return "\n".join((*lines, "             (sent, acked, received, confirmed)"))
