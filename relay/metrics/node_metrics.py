"""Metrics of the node itself: loop lateness, garbage collection, readiness, certificate and version."""

from math import inf
from typing import Final

from observability.definition import Kind
from observability.process import VERSION
from relay.metrics.definition import Definition

NODE: Final = (
    Definition(
        "varde_relay_loop_lateness_seconds",
        Kind.HISTOGRAM,
        None,
        "How late an idle task woke, measured ten times a second.",
        "Everything waits this long. p99 below 10 ms is fine. Above 100 ms the node is too full. Above 1 s, new "
        "connections are refused until it is better.",
        lambda services, _: services.metrics.lateness,
    ),
    Definition(
        "varde_relay_gc_pause_seconds",
        Kind.HISTOGRAM,
        "generation",
        "Seconds that each garbage collection stopped the node, by generation.",
        "Generations 0 and 1 stay below 5 ms. Pauses of generation 2 above 100 ms should be as rare as thaws.",
        lambda services, _: {str(number): each for number, each in enumerate(services.metrics.pauses)},
    ),
    Definition(
        "varde_relay_gc_freezes_total",
        Kind.COUNTER,
        None,
        "Times that all living objects were hidden from the garbage collector (gc.freeze).",
        "One for every 250 new connections.",
        lambda services, _: services.metrics.freezes,
    ),
    Definition(
        "varde_relay_gc_thaws_total",
        Kind.COUNTER,
        None,
        "Times that all objects were collected again (gc.unfreeze), because as many connections had ended as were "
        "there.",
        "Each is one long pause of generation 2. Many an hour: connections are short, find out why.",
        lambda services, _: services.metrics.thaws,
    ),
    Definition(
        "varde_relay_ready",
        Kind.GAUGE,
        None,
        "1 while a load balancer may send clients here.",
        "0: /v1/ready says why. One of draining, database, schema, bus, full.",
        lambda services, _: float(services.ready),
    ),
    Definition(
        "varde_relay_draining",
        Kind.GAUGE,
        None,
        "1 while the node shuts down in good order.",
        "Silence alerts for this node while it is 1.",
        lambda services, _: float(services.draining.is_set()),
    ),
    Definition(
        "varde_relay_tls_certificate_left_seconds",
        Kind.GAUGE,
        None,
        "Seconds until the TLS certificate expires; +Inf without TLS in the node.",
        "Below two weeks: the renewal does not work, or its files are not read. The log says why.",
        lambda services, _: inf if services.certificate is None else services.certificate.expires_in_s,
    ),
    Definition(
        "varde_relay_tls_certificate_reads_total",
        Kind.COUNTER,
        "outcome",
        "Times that the certificate's files were read while the node ran: `taken`, or `refused` and the old one kept.",
        "For any `refused`, look at the log. The node tries again every minute.",
        lambda services, _: {"taken": 0, "refused": 0} if services.certificate is None else services.certificate.reads,
    ),
    Definition(
        "varde_relay_scrapes_total",
        Kind.COUNTER,
        None,
        "Times that this page was read.",
        "More than your Prometheus asks for: somebody else reads it.",
        lambda services, _: services.metrics.scrapes,
    ),
    Definition(
        "varde_relay_build_info",
        Kind.GAUGE,
        "version",
        "1, with the version that runs.",
        "To see a roll-out in the other metrics.",
        lambda *_: {VERSION: 1.0},
    ),
)
