"""For those who know Locust: `locust -f loadtest/locustfile.py --scenario steady`, with a web page or `--headless`."""

from typing import Any

from locust import events

from loadtest.running.locust_command import add_arguments, attach
from loadtest.running.shape import RunShape as RunShape
from loadtest.running.user import VardeUser as VardeUser


def _on_parser(parser: Any) -> None:
    add_arguments(parser)


def _on_init(environment: Any, **_: Any) -> None:
    attach(environment)


events.init_command_line_parser.add_listener(_on_parser)  # type: ignore[no-untyped-call]
events.init.add_listener(_on_init)  # type: ignore[no-untyped-call]
