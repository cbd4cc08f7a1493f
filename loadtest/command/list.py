"""`python -m loadtest list`: the catalogue."""

import textwrap
from typing import Final

import click

from loadtest.scenarios.catalogue import SCENARIOS
from loadtest.scenarios.plan import Ask, Kind, Plan

_WIDTH: Final = 100


@click.command(name="list")
@click.option("--smoke", is_flag=True, help="With the small amounts of a smoke run.")
def command(*, smoke: bool) -> None:
    """The catalogue: each scenario, what it shows, and its load shape."""
    for scenario in SCENARIOS.values():
        plan = scenario.plan(Ask(smoke=smoke))
        click.echo(f"{scenario.name}: {scenario.title} ({amounts_of(plan)})")
        click.echo(_indented(scenario.shows))
        click.echo(_indented(shape_of(plan)) + "\n")
    click.echo("python -m loadtest run SCENARIO [--users N] [--rate R] [--seconds S] [--smoke]")


def amounts_of(plan: Plan) -> str:
    """Return a plan's size in words: users, rate, time."""
    rate = max(max(stage.messages_per_second, stage.requests_per_second) for stage in plan.stages)
    said = [f"{plan.seats:,} users"]
    if rate:
        said.append(f"{rate:,g} {'requests' if plan.kind is Kind.REST else 'messages'}/s")
    return ", ".join((*said, _time(plan.seconds)))


def shape_of(plan: Plan) -> str:
    """Return the stages in order; those that are judged stand in brackets."""
    said = []
    for stage in plan.stages:
        words = f"{stage.name} {_time(stage.seconds)}"
        if stage.action is not None:
            words += f" ({stage.action})"
        said.append(f"[{words}]" if stage.judged else words)
    return " -> ".join(said)


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:  # noqa: PLR2004 - minutes of an hour
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _indented(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
