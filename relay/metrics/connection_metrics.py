"""Metrics of connections: who connects, how connections end, frames and bytes, outboxes and the reactor."""

from typing import Final

from observability.definition import Kind, by_label
from relay.metrics.definition import Definition, by_close_code, by_tag

CONNECTIONS: Final = (
    Definition(
        "varde_relay_connections",
        Kind.GAUGE,
        "state",
        "Connections now, by state: not authenticated yet (`stranger`), in a handshake, established.",
        "Add nodes before `established` comes near VARDE_RELAY_CONNECTIONS. Many strangers and few handshakes: "
        "somebody holds sockets open, see the hostile peers.",
        lambda services, _: {
            "stranger": services.admission.unauthenticated - services.admission.handshakes,
            "handshake": services.admission.handshakes,
            "established": len(services.hub),
        },
    ),
    Definition(
        "varde_relay_handshakes_total",
        Kind.COUNTER,
        "outcome",
        "Connections opened, by what became of them up to their `welcome`.",
        "Alert on the share of `accepted`. `overloaded` and `full` ask for more nodes. `rate-limited` may be an "
        "office, or a load balancer that VARDE_RELAY_PROXIES does not count. Many `bad-ticket` are a wrong key or "
        "clock.",
        lambda services, _: by_label(services.metrics.handshakes),
    ),
    Definition(
        "varde_relay_disconnects_total",
        Kind.COUNTER,
        "code",
        "Established connections that ended, by close code: our codes by name, those of RFC 6455 by number (1000 "
        "and 1001 come from the peer, the rest from us), `none` for a peer that vanished, `other` for any other "
        "code of a peer.",
        "docs/protocol.md says what each of our codes means. Watch `slow-consumer` and `database-lost`. `1011` is a "
        "bug of ours; the log names the line.",
        lambda services, _: by_close_code(services.metrics.disconnects),
    ),
    Definition(
        "varde_relay_resumes_total",
        Kind.COUNTER,
        "outcome",
        "Conversations joined, by whether the device got what it had missed.",
        "Watch `expired`: messages were gone before the device came back. `unavailable` follows the database.",
        lambda services, _: by_label(services.metrics.joins),
    ),
    Definition(
        "varde_relay_hostile_total",
        Kind.COUNTER,
        "what",
        "What broken or hostile peers did. One connection may do several of these.",
        "The node survives all of it without help. A jump of one word is an attack or a broken client: look at "
        "which client version was published when it began, and block addresses in front of the relay. A wave of "
        "`half-open` is a network failure, or a load balancer that drops connections which are silent for less than "
        "25 seconds.",
        lambda services, _: by_label(services.metrics.hostile),
    ),
    Definition(
        "varde_relay_pings_total",
        Kind.COUNTER,
        None,
        "Pings sent: one for each connection and heartbeat.",
        "The rate is the number of established connections divided by 25 seconds. If it is lower, the loop does not "
        "keep up.",
        lambda services, _: services.metrics.pings,
    ),
    Definition(
        "varde_relay_listeners",
        Kind.GAUGE,
        None,
        "Conversations listened to, counted once for each connection.",
        "For sizing: memory and fan-out grow with it.",
        lambda _, snapshot: snapshot.listeners,
    ),
)

TRAFFIC: Final = (
    Definition(
        "varde_relay_frames_received_total",
        Kind.COUNTER,
        "frame",
        "Frames from clients, by kind.",
        "The load that clients make. `receipt:delivered` should follow the deliveries. Much `sync` is a client that "
        "does not keep its position.",
        lambda services, _: by_tag(services.metrics.frames_in),
    ),
    Definition(
        "varde_relay_received_bytes_total",
        Kind.COUNTER,
        "frame",
        "Bytes of Noise messages from clients, by the kind of their only frame, or `several`.",
        "For sizing the network.",
        lambda services, _: by_tag(services.metrics.bytes_in),
    ),
    Definition(
        "varde_relay_frames_sent_total",
        Kind.COUNTER,
        "frame",
        "Frames to clients, by kind. `msg:new` are the deliveries.",
        "The rate of `msg:new` is the node's main work.",
        lambda services, _: by_tag(services.metrics.frames_out),
    ),
    Definition(
        "varde_relay_sent_bytes_total",
        Kind.COUNTER,
        "frame",
        "Bytes of frames to clients, by kind, before encryption.",
        "For sizing the network. Encryption and framing add about 30 bytes for each flush.",
        lambda services, _: by_tag(services.metrics.bytes_out),
    ),
    Definition(
        "varde_relay_refusals_total",
        Kind.COUNTER,
        "code",
        "Frames answered with `refused`, by code.",
        "docs/protocol.md says what each code means. `rate-limited` is a client in a loop. `unavailable` and "
        "`overloaded` come from the node, see the journal. `stale-devices` is normal while rosters change.",
        lambda services, _: by_label(services.metrics.refusals),
    ),
    Definition(
        "varde_relay_gap_numbers_total",
        Kind.COUNTER,
        "why",
        "Message numbers that a device was told it cannot have, by reason.",
        "`expired` is lost for that device: the retention time passed before it came. The other reasons are by design.",
        lambda services, _: by_label(services.metrics.gaps),
    ),
    Definition(
        "varde_relay_dropped_frames_total",
        Kind.COUNTER,
        "frame",
        "Ephemeral frames dropped because an outbox was full.",
        "Nothing is lost that anybody keeps. Many of them: peers read too slowly, or rooms are too large for their "
        "networks.",
        lambda services, _: by_tag(services.metrics.dropped),
    ),
    Definition(
        "varde_relay_outbox_bytes",
        Kind.HISTOGRAM,
        None,
        "Bytes waiting in each connection's outbox at the moment of the scrape.",
        "Nearly all at 0 is normal. The buckets are a snapshot and not a counter: read them without rate().",
        lambda _, snapshot: snapshot.depths,
    ),
    Definition(
        "varde_relay_outbox_deepest_bytes",
        Kind.GAUGE,
        None,
        "Bytes in the fullest outbox.",
        "At 1 MiB the peer is disconnected with `slow-consumer`. It comes back and resumes.",
        lambda _, snapshot: snapshot.deepest,
    ),
    Definition(
        "varde_relay_flushes_total",
        Kind.COUNTER,
        None,
        "Noise messages encrypted and sent.",
        "Frames sent per flush is 1 on a quiet node and grows with load: batching is how the node keeps up.",
        lambda services, _: services.metrics.flushes,
    ),
    Definition(
        "varde_relay_partial_writes_total",
        Kind.COUNTER,
        None,
        "Writes of which the kernel took only a part. The rest waits until the peer has read.",
        "Slow peers. If it grows along with all traffic, the network is full.",
        lambda services, _: services.metrics.partial_writes,
    ),
    Definition(
        "varde_relay_reactor_passes_total",
        Kind.COUNTER,
        None,
        "Passes in which the reactor served ready sockets.",
        "For the next one.",
        lambda services, _: services.metrics.reactor_passes,
    ),
    Definition(
        "varde_relay_reactor_events_total",
        Kind.COUNTER,
        None,
        "Ready sockets in these passes.",
        "Events per pass shows how busy the loop is: 1 is quiet, 256 is full.",
        lambda services, _: services.metrics.reactor_events,
    ),
    Definition(
        "varde_relay_fan_out_seconds",
        Kind.HISTOGRAM,
        None,
        "Seconds from a commit until every listener on this node was sent the message, for each batch.",
        "Grows with the size of rooms. Above 50 ms everybody waits: spread large rooms over more nodes.",
        lambda services, _: services.metrics.fan_out,
    ),
)
