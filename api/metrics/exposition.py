"""Every metric of the API, and the page of them that Prometheus reads."""

from functools import partial
from typing import Final, TypeAlias

import trio

from api.services import Services
from observability import definition
from observability.definition import Kind, Page, by_label, make_page, render_metric
from observability.loop_lateness import run_loop_lateness
from observability.process import PROCESS, VERSION
from observability.serving import MakeContext, start_metrics

Definition: TypeAlias = definition.Definition[[Services, bool]]
"""Read from the services, and from whether the database answered just now."""

REQUESTS: Final = (
    Definition(
        "varde_api_request_seconds",
        Kind.HISTOGRAM,
        "operation",
        "Seconds from the head of a request to its answer, by operation; `none` is a path or method that is not there.",
        "p99 above 150 ms: look at the database first. `request_code` waits for the mail server.",
        lambda services, _: dict(services.metrics.seconds),
    ),
    Definition(
        "varde_api_answers_total",
        Kind.COUNTER,
        "status",
        "Answered requests, by HTTP status.",
        "500 is a bug of ours: the log has its place in the code. 503: the database or the mail server is away. Many "
        "401 or 429 from one client are its own fault.",
        lambda services, _: {str(status): count for status, count in services.metrics.answers.items()},
    ),
    Definition(
        "varde_api_surprises_total",
        Kind.COUNTER,
        None,
        "Requests that ended in an error which nobody expected.",
        "Must stay 0. The log has the place in the code.",
        lambda services, _: services.metrics.surprises,
    ),
    Definition(
        "varde_api_connections",
        Kind.GAUGE,
        None,
        "Open connections.",
        "At 4,000, further ones get 503: add API processes.",
        lambda services, _: services.metrics.connections,
    ),
    Definition(
        "varde_api_refused_connections_total",
        Kind.COUNTER,
        None,
        "Connections that were one too many, in all or from one network.",
        "Behind a load balancer set VARDE_API_PROXIES, or all clients count as one network.",
        lambda services, _: services.metrics.refused_connections,
    ),
    Definition(
        "varde_api_budget_refusals_total",
        Kind.COUNTER,
        "budget",
        "Requests refused because the account had spent a budget, by budget.",
        "A steady rate is a client in a loop, or somebody who uses others' devices up. docs/limits.md has the budgets.",
        lambda services, _: by_label(services.budgets.refused),
    ),
)
PARTS: Final = (
    Definition(
        "varde_api_database_up",
        Kind.GAUGE,
        None,
        "1 when the database answered as the page was asked for.",
        "0: requests are refused with 503 until it is back. The API needs no help.",
        lambda _, database_up: float(database_up),
    ),
    Definition(
        "varde_api_store_unavailable_total",
        Kind.COUNTER,
        None,
        "Requests that the database did not answer in time.",
        "A few during a failover are normal.",
        lambda services, _: services.metrics.store_unavailable,
    ),
    Definition(
        "varde_api_mails_total",
        Kind.COUNTER,
        "outcome",
        "Codes handed to the mail server: `sent`, or `failed`.",
        "While they fail nobody can sign up or sign in. Look at the mail server; `varde doctor` sends a test.",
        lambda services, _: services.metrics.mails,
    ),
    Definition(
        "varde_api_loop_lateness_seconds",
        Kind.HISTOGRAM,
        None,
        "How late an idle task woke, measured ten times a second.",
        "Every request waits this long. Above 100 ms: add API processes.",
        lambda services, _: services.metrics.lateness,
    ),
    Definition(
        "varde_api_build_info",
        Kind.GAUGE,
        "version",
        "1, with the version that runs.",
        "To see a roll-out.",
        lambda *_: {VERSION: 1.0},
    ),
)
DEFINITIONS: Final[tuple[Definition, ...]] = (*REQUESTS, *PARTS, *PROCESS)


async def start_api_metrics(services: Services, nursery: trio.Nursery, tls: MakeContext | None = None) -> str | None:
    """Serve the page if the settings say where, and return the address. Raises OSError when it cannot be had."""
    nursery.start_soon(run_loop_lateness, services.metrics.lateness.observe)
    bind = services.config.metrics_bind

    async def ready() -> tuple[str, ...]:
        readiness = await services.probe()
        # Not the bus: without it events are late, and requests are not.
        return tuple(word for word in ("database", "schema") if not getattr(readiness, word))

    page = partial(render_page, services)
    return None if bind is None else await start_metrics(bind, page, ready, nursery, tls=tls)


async def render_page(services: Services, *, openmetrics: bool) -> Page:
    """Return all metrics as they are now, the database asked."""
    database_up = (await services.probe()).database
    read = ((each, each.read(services, database_up)) for each in DEFINITIONS)
    parts = [render_metric(each, value, openmetrics=openmetrics) for each, value in read if value is not None]
    return make_page(parts, openmetrics=openmetrics)
