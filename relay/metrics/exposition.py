"""The page that Prometheus reads of a node."""

from functools import partial
from typing import Final

import trio

from observability.definition import Page, make_page, render_metric
from observability.process import PROCESS
from observability.serving import start_metrics
from relay.metrics.connection_metrics import CONNECTIONS, TRAFFIC
from relay.metrics.definition import Definition
from relay.metrics.node_metrics import NODE
from relay.metrics.snapshot import take_snapshot
from relay.metrics.storage_metrics import STORAGE
from relay.services import Services

DEFINITIONS: Final[tuple[Definition, ...]] = (*CONNECTIONS, *TRAFFIC, *STORAGE, *NODE, *PROCESS)
"""Every metric there is, in the order of the page and of docs/metrics.md."""


async def start_node_metrics(services: Services, nursery: trio.Nursery) -> str | None:
    """Serve the page if the settings say where, and return the address. Raises OSError when it cannot be had."""
    settings = services.settings
    if settings.metrics_bind is None:
        return None

    async def ready() -> tuple[str, ...]:
        return services.readiness.reasons

    page, certificate = partial(render_page, services), services.metrics_certificate
    tls = None if certificate is None else certificate.make_context
    return await start_metrics(settings.metrics_bind, page, ready, nursery, tls=tls, strict=settings.strict)


async def render_page(services: Services, *, openmetrics: bool) -> Page:
    """Return all metrics as they are now."""
    services.metrics.scrapes += 1
    snapshot = await take_snapshot(services.hub)
    parts = []
    for definition in DEFINITIONS:
        value = definition.read(services, snapshot)
        if value is not None:
            parts.append(render_metric(definition, value, openmetrics=openmetrics))
            await trio.lowlevel.checkpoint()
    return make_page(parts, openmetrics=openmetrics)
