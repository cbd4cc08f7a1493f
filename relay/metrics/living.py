"""The rows about the process: is it on time, what does Python's collector cost, what does the system say of it."""

from math import inf
from typing import Final

from relay.metrics.process import VERSION
from relay.metrics.row import Kind, Row

ROWS: Final = (
    Row(
        "varde_relay_loop_lateness_seconds",
        Kind.HISTOGRAM,
        None,
        "How much later than planned a task woke that does nothing else, ten times a second.",
        "Everything waits this long. p99 below 10 ms is fine; above 100 ms the node is too full. Above 1 s newcomers "
        "are turned away until it is better.",
        lambda services, _: services.metrics.lateness,
    ),
    Row(
        "varde_relay_gc_pause_seconds",
        Kind.HISTOGRAM,
        "generation",
        "How long each garbage collection held everything up, by generation.",
        "Generations 0 and 1 stay below 5 ms. Pauses of generation 2 above 100 ms should be as rare as thaws.",
        lambda services, _: {str(number): each for number, each in enumerate(services.metrics.pauses)},
    ),
    Row(
        "varde_relay_gc_freezes_total",
        Kind.COUNTER,
        None,
        "How often what is alive was taken out of the collector's sight.",
        "One for every 250 connections that come.",
        lambda services, _: services.metrics.freezes,
    ),
    Row(
        "varde_relay_gc_thaws_total",
        Kind.COUNTER,
        None,
        "How often all of it was looked through again, because as many connections had gone as were there.",
        "Each is one long pause of generation 2. Many an hour: connections are short, find out why.",
        lambda services, _: services.metrics.thaws,
    ),
    Row(
        "varde_relay_ready",
        Kind.GAUGE,
        None,
        "1 while newcomers are welcome: not draining, and no outage that lasts.",
        "The same as /v1/ready.",
        lambda services, _: float(services.ready),
    ),
    Row(
        "varde_relay_draining",
        Kind.GAUGE,
        None,
        "1 while the node goes down in good order.",
        "Silence alerts on this node while it is 1.",
        lambda services, _: float(services.draining.is_set()),
    ),
    Row(
        "varde_relay_tls_certificate_left_seconds",
        Kind.GAUGE,
        None,
        "How long the TLS certificate is still good; +Inf where TLS does not end in the node.",
        "Below two weeks the renewal does not work, or its files are not read: the log says why.",
        lambda services, _: inf if services.certificate is None else services.certificate.expires_in_s,
    ),
    Row(
        "varde_relay_tls_certificate_reads_total",
        Kind.COUNTER,
        "outcome",
        "How often the certificate's files were read while the node ran: `taken`, or `refused` and the old one kept.",
        "Any `refused` is worth a look at the log; it is tried again every minute.",
        lambda services, _: {"taken": 0, "refused": 0} if services.certificate is None else services.certificate.reads,
    ),
    Row(
        "varde_relay_scrapes_total",
        Kind.COUNTER,
        None,
        "How often this page was read.",
        "More than your Prometheus asks for: somebody else reads it.",
        lambda services, _: services.metrics.scrapes,
    ),
    Row(
        "varde_relay_build_info",
        Kind.GAUGE,
        "version",
        "1, with the version that runs.",
        "To see a roll-out in the other metrics.",
        lambda *_: {VERSION: 1.0},
    ),
    Row(
        "process_cpu_seconds_total",
        Kind.COUNTER,
        None,
        "Processor time of the process, user and system.",
        "One node uses one core: at a rate of 0.7, add a worker.",
        lambda _, survey: survey.process.get("process_cpu_seconds_total"),
    ),
    Row(
        "process_resident_memory_bytes",
        Kind.GAUGE,
        None,
        "Memory of the process that is in RAM.",
        "It follows the connections. What stays after they have gone comes back with the next thaw.",
        lambda _, survey: survey.process.get("process_resident_memory_bytes"),
    ),
    Row(
        "process_virtual_memory_bytes",
        Kind.GAUGE,
        None,
        "Address space of the process.",
        "Of no consequence.",
        lambda _, survey: survey.process.get("process_virtual_memory_bytes"),
    ),
    Row(
        "process_open_fds",
        Kind.GAUGE,
        None,
        "Open files and sockets; on Linux from 6.2 on.",
        "Stay well below the next one: at it, nobody new is accepted.",
        lambda _, survey: survey.process.get("process_open_fds"),
    ),
    Row(
        "process_max_fds",
        Kind.GAUGE,
        None,
        "How many it may have open.",
        "VARDE_RELAY_CONNECTIONS and 3,000 more.",
        lambda _, survey: survey.process.get("process_max_fds"),
    ),
    Row(
        "process_start_time_seconds",
        Kind.GAUGE,
        None,
        "When the process started, in seconds since 1970.",
        "A restart that nobody ordered is in the supervisor's log.",
        lambda _, survey: survey.process.get("process_start_time_seconds"),
    ),
)
