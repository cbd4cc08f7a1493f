"""The rows about connections: who comes, who is there, how they end."""

from typing import Final

from relay.metrics.by_word import by_code, by_word
from relay.metrics.row import Kind, Row

ROWS: Final = (
    Row(
        "varde_relay_connections",
        Kind.GAUGE,
        "state",
        "Connections now: strangers, those in the middle of a handshake, and established ones.",
        "Add nodes before `established` comes near VARDE_RELAY_CONNECTIONS. Many strangers and few handshakes: "
        "somebody holds sockets open, see the hostile peers.",
        lambda services, _: {
            "stranger": services.admission.strangers - services.admission.handshakes,
            "handshake": services.admission.handshakes,
            "established": len(services.hub),
        },
    ),
    Row(
        "varde_relay_handshakes_total",
        Kind.COUNTER,
        "outcome",
        "Connections that somebody opened, by what became of them up to their welcome.",
        "Alert on the share of `accepted`. `overloaded` and `full` ask for more nodes; `rate-limited` may be an "
        "office or a load balancer that VARDE_RELAY_PROXIES does not know of; `bad-ticket` in numbers is a wrong key "
        "or clock.",
        lambda services, _: by_word(services.metrics.handshakes),
    ),
    Row(
        "varde_relay_disconnects_total",
        Kind.COUNTER,
        "code",
        "Established connections that ended, by close code: ours by its word, those of RFC 6455 by number (1000 and "
        "1001 are the peer's, the rest ours), `none` for a peer that vanished, `other` for any other code of a peer.",
        "The protocol page says what each of our codes means. Watch `slow-consumer` and `database-lost`; `1011` is a "
        "surprise in our code, and the log says where.",
        lambda services, _: by_code(services.metrics.closed),
    ),
    Row(
        "varde_relay_resumes_total",
        Kind.COUNTER,
        "outcome",
        "Conversations that were joined, by what had been missed and whether it could be had.",
        "`expired` is the one that hurts: messages were gone before the device came back. `unavailable` follows the "
        "database.",
        lambda services, _: by_word(services.metrics.resumes),
    ),
    Row(
        "varde_relay_hostile_total",
        Kind.COUNTER,
        "what",
        "What broken or hostile peers did; one connection may do several of these.",
        "All of it is survived without help. A jump of one of them is an attack or a broken client: look at which "
        "version was published when it began, and block addresses in front of the relay. A wave of `half-open` is a "
        "network, or a load balancer that drops connections which are silent for less than 25 seconds.",
        lambda services, _: by_word(services.metrics.hostile),
    ),
    Row(
        "varde_relay_pings_total",
        Kind.COUNTER,
        None,
        "Pings that were written: one for each connection and heartbeat.",
        "Established connections divided by 25 seconds. Less means that the loop does not keep up.",
        lambda services, _: services.metrics.pings,
    ),
    Row(
        "varde_relay_listeners",
        Kind.GAUGE,
        None,
        "Conversations that are listened to, counted once for each connection.",
        "For sizing: memory and fan-out grow with it.",
        lambda _, survey: survey.listeners,
    ),
)
