"""The page that Prometheus reads of an API process."""

from functools import partial
from typing import Final

import trio

from api.metrics.definitions import PARTS, REQUESTS, Definition
from api.services import Services
from observability.definition import Page, make_page, render_metric
from observability.loop_lateness import run_loop_lateness
from observability.process import PROCESS
from observability.serving import start_metrics

DEFINITIONS: Final[tuple[Definition, ...]] = (*REQUESTS, *PARTS, *PROCESS)


async def start_api_metrics(services: Services, nursery: trio.Nursery) -> str | None:
    """Serve the page if the settings say where, and return the address. Raises OSError when it cannot be had."""
    nursery.start_soon(run_loop_lateness, services.metrics.lateness.observe)
    bind = services.config.metrics_bind

    async def ready() -> tuple[str, ...]:
        readiness = await services.probe()
        # Not the bus: without it events are late, and requests are not.
        return tuple(word for word in ("database", "schema") if not getattr(readiness, word))

    return None if bind is None else await start_metrics(bind, partial(render_page, services), ready, nursery)


async def render_page(services: Services, *, openmetrics: bool) -> Page:
    """Return all metrics as they are now, the database asked."""
    database_up = (await services.probe()).database
    read = ((each, each.read(services, database_up)) for each in DEFINITIONS)
    parts = [render_metric(each, value, openmetrics=openmetrics) for each, value in read if value is not None]
    return make_page(parts, openmetrics=openmetrics)
