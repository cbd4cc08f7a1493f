"""The rows about what goes over the wire: frames, bytes, outboxes, the reactor."""

from typing import Final

from relay.metrics.by_word import by_tag, by_word
from relay.metrics.row import Kind, Row

ROWS: Final = (
    Row(
        "varde_relay_frames_received_total",
        Kind.COUNTER,
        "frame",
        "Frames from clients, by kind.",
        "The load as clients make it. `receipt:delivered` should follow the deliveries, much of `sync` is a client "
        "that does not keep its position.",
        lambda services, _: by_tag(services.metrics.frames_in),
    ),
    Row(
        "varde_relay_received_bytes_total",
        Kind.COUNTER,
        "frame",
        "Bytes of Noise messages from clients, by the kind of their only frame, or `several`.",
        "For sizing the network.",
        lambda services, _: by_tag(services.metrics.bytes_in),
    ),
    Row(
        "varde_relay_frames_sent_total",
        Kind.COUNTER,
        "frame",
        "Frames to clients, by kind: `msg:new` are the deliveries.",
        "The rate of `msg:new` is what the node works for.",
        lambda services, _: by_tag(services.metrics.frames_out),
    ),
    Row(
        "varde_relay_sent_bytes_total",
        Kind.COUNTER,
        "frame",
        "Bytes of frames to clients, encoded and not sealed yet, by kind.",
        "For sizing the network; sealing and framing add about 30 bytes for each flush.",
        lambda services, _: by_tag(services.metrics.bytes_out),
    ),
    Row(
        "varde_relay_refusals_total",
        Kind.COUNTER,
        "code",
        "Frames that were answered with `refused`, by code.",
        "The protocol page says what each means. `rate-limited` is a client in a loop; `unavailable` and `overloaded` "
        "are ours, see the journal; `stale-devices` is normal while rosters move.",
        lambda services, _: by_word(services.metrics.refusals),
    ),
    Row(
        "varde_relay_gap_numbers_total",
        Kind.COUNTER,
        "why",
        "Numbers of the log that a device was told it cannot have, by reason.",
        "`expired` is lost for that device: the retention time passed before it came. The others are by design.",
        lambda services, _: by_word(services.metrics.gaps),
    ),
    Row(
        "varde_relay_dropped_frames_total",
        Kind.COUNTER,
        "frame",
        "Ephemeral frames that were left out because an outbox was full.",
        "Nothing is lost that anybody keeps. Much of it means peers that read too slowly, or rooms too large for their "
        "networks.",
        lambda services, _: by_tag(services.metrics.dropped),
    ),
    Row(
        "varde_relay_outbox_bytes",
        Kind.HISTOGRAM,
        None,
        "Bytes that wait for each connection at the moment of the scrape.",
        "Nearly all at 0 is normal. This is a picture, not a counter: look at its buckets as they are, without rate().",
        lambda _, survey: survey.depths,
    ),
    Row(
        "varde_relay_outbox_deepest_bytes",
        Kind.GAUGE,
        None,
        "The most of them.",
        "At 1 MiB a peer is cut with `slow-consumer` and comes back.",
        lambda _, survey: survey.deepest,
    ),
    Row(
        "varde_relay_flushes_total",
        Kind.COUNTER,
        None,
        "Noise messages that were sealed and sent.",
        "Frames sent per flush is 1 on a quiet node and grows with load: that is how it keeps up.",
        lambda services, _: services.metrics.flushes,
    ),
    Row(
        "varde_relay_partial_writes_total",
        Kind.COUNTER,
        None,
        "Writes of which the kernel took only a part: the rest waits until the peer has read.",
        "Slow peers. When it grows with everything else, the network is full.",
        lambda services, _: services.metrics.partial_writes,
    ),
    Row(
        "varde_relay_reactor_passes_total",
        Kind.COUNTER,
        None,
        "Times that ready sockets were served.",
        "See the next one.",
        lambda services, _: services.metrics.reactor_passes,
    ),
    Row(
        "varde_relay_reactor_events_total",
        Kind.COUNTER,
        None,
        "Sockets that were ready in them.",
        "Events per pass shows how busy the loop is: 1 is quiet, 256 is full.",
        lambda services, _: services.metrics.reactor_events,
    ),
    Row(
        "varde_relay_fan_out_seconds",
        Kind.HISTOGRAM,
        None,
        "From a commit until every listener of this node was told, for each batch.",
        "Grows with the size of rooms. Above 50 ms everybody waits: spread large rooms over more nodes.",
        lambda services, _: services.metrics.fan_out,
    ),
)
