"""The command line `python -m chaos`."""

import random
import sys
from pathlib import Path

import click
import trio

from chaos.faults import FAULTS
from chaos.machines import enter_own_machines
from chaos.run import FULL_SECONDS, QUICK_SECONDS, run_chaos


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("faults", nargs=-1, type=click.Choice(list(FAULTS)), metavar="[FAULT]...")
@click.option("--quick", is_flag=True, help="The faults of the short run, a second and a half each: under a minute.")
@click.option("--seed", type=int, help="Repeat a run: the seed that it printed.")
@click.option("--seconds", type=float, help="How long each fault lasts.  [default: 5, quick: 1.5]")
@click.option("--nodes", type=click.IntRange(1, 8), help="Relay nodes.  [default: 3, quick: 2]")
@click.option("--output", type=click.Path(path_type=Path), default=Path("build/chaos.json"), show_default=True)
@click.option("--list", "list_faults", is_flag=True, help="List the faults.")
def main(
    faults: tuple[str, ...],
    *,
    quick: bool,
    seed: int | None,
    seconds: float | None,
    nodes: int | None,
    output: Path,
    list_faults: bool,
) -> None:
    """Run a real system, let people talk, let faults happen, and account for every message.

    Each FAULT is run in the order given; without one, all of them. Exits with 1 when a message was lost, repeated,
    misdelivered or came out of order.

    Examples:
      python -m chaos --quick
      python -m chaos node-killed database-killed --seconds 20
      python -m chaos --seed 4711
    """
    if list_faults:
        for name, fault in FAULTS.items():
            click.echo(f"{name}{'  (quick)' if fault.quick else ''}")
        return
    chosen = faults or tuple(name for name, fault in FAULTS.items() if fault.quick or not quick)
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    told = (*faults, *(["--quick"] if quick else []), "--seed", seed)
    told += (*(() if seconds is None else ("--seconds", seconds)), *(() if nodes is None else ("--nodes", nodes)))
    machines = enter_own_machines()
    clean = trio.run(
        lambda: run_chaos(
            chosen,
            machines,
            seed=seed,
            seconds=seconds if seconds is not None else QUICK_SECONDS if quick else FULL_SECONDS,
            nodes=nodes or (2 if quick else 3),
            output=output,
            repeat=f"python -m chaos {' '.join(map(str, told))}",
            say=click.echo,
        )
    )
    if not clean:
        sys.exit(1)


if __name__ == "__main__":
    main()
