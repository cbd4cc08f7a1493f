"""The handshake patterns as one table, in the notation of the specification (sections 7.4, 7.5 and 18.1)."""

from dataclasses import dataclass, field, replace
from typing import Final, Literal, Self, TypeAlias, cast

Token: TypeAlias = Literal["e", "s", "ee", "es", "se", "ss", "psk"]
"""In a Diffie-Hellman token the first letter is the initiator's key, the second the responder's."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Who must know whose static key beforehand, and the tokens of each message; the initiator writes the first."""

    initiator_known: bool
    responder_known: bool
    messages: tuple[tuple[Token, ...], ...]
    psks: int = field(init=False, compare=False)
    """How many pre-shared keys the pattern mixes in."""
    _static: tuple[bool, bool] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Counted once, not for each handshake.
        object.__setattr__(self, "psks", sum(message.count("psk") for message in self.messages))
        object.__setattr__(self, "_static", (self._has_static(initiator=False), self._has_static(initiator=True)))

    @property
    def one_way(self) -> bool:
        """Whether only the initiator ever sends, transport messages included."""
        return len(self.messages) == 1

    def known(self, *, initiator: bool) -> bool:
        """Whether the peer must have that side's static key before the first message."""
        return self.initiator_known if initiator else self.responder_known

    def static(self, *, initiator: bool) -> bool:
        """Whether that side has a static key at all."""
        return self._static[initiator]

    def _has_static(self, *, initiator: bool) -> bool:
        sent = self.messages[0 if initiator else 1 :: 2]
        return self.known(initiator=initiator) or any("s" in message for message in sent)

    def with_psk(self, place: int) -> Self:
        """The same with a psk before the first message (place 0) or after the message of that number (section 9.4).

        Raises IndexError when there is no such message.
        """
        messages = list(self.messages)
        if place == 0:
            messages[0] = ("psk", *messages[0])
        else:
            messages[place - 1] = (*messages[place - 1], "psk")
        return replace(self, messages=tuple(messages))


_TABLE: Final = {
    # one-way
    "N": "<- s ... -> e es",
    "K": "-> s <- s ... -> e es ss",
    "X": "<- s ... -> e es s ss",
    # interactive: no static key, a known one, one that is transmitted, one that is transmitted immediately
    "NN": "-> e <- e ee",
    "NK": "<- s ... -> e es <- e ee",
    "NX": "-> e <- e ee s es",
    "KN": "-> s ... -> e <- e ee se",
    "KK": "-> s <- s ... -> e es ss <- e ee se",
    "KX": "-> s ... -> e <- e ee se s es",
    "XN": "-> e <- e ee -> s se",
    "XK": "<- s ... -> e es <- e ee -> s se",
    "XX": "-> e <- e ee s es -> s se",
    "IN": "-> e s <- e ee se",
    "IK": "<- s ... -> e es s ss <- e ee se",
    "IX": "-> e s <- e ee se s es",
    # deferred: the side marked 1 is authenticated one message later
    "NK1": "<- s ... -> e <- e ee es",
    "NX1": "-> e <- e ee s -> es",
    "K1N": "-> s ... -> e <- e ee -> se",
    "K1K": "-> s <- s ... -> e es <- e ee -> se",
    "KK1": "-> s <- s ... -> e <- e ee se es",
    "K1K1": "-> s <- s ... -> e <- e ee es -> se",
    "K1X": "-> s ... -> e <- e ee s es -> se",
    "KX1": "-> s ... -> e <- e ee se s -> es",
    "K1X1": "-> s ... -> e <- e ee s -> se es",
    "X1N": "-> e <- e ee -> s <- se",
    "X1K": "<- s ... -> e es <- e ee -> s <- se",
    "XK1": "<- s ... -> e <- e ee es -> s se",
    "X1K1": "<- s ... -> e <- e ee es -> s <- se",
    "X1X": "-> e <- e ee s es -> s <- se",
    "XX1": "-> e <- e ee s -> es s se",
    "X1X1": "-> e <- e ee s -> es s <- se",
    "I1N": "-> e s <- e ee -> se",
    "I1K": "<- s ... -> e es s <- e ee -> se",
    "IK1": "<- s ... -> e s <- e ee se es",
    "I1K1": "<- s ... -> e s <- e ee es -> se",
    "I1X": "-> e s <- e ee s es -> se",
    "IX1": "-> e s <- e ee se s -> es",
    "I1X1": "-> e s <- e ee s -> se es",
}


def _read(notation: str) -> Pattern:
    before, _, lines = notation.rpartition("...")
    messages = lines.replace("<-", "->").split("->")[1:]
    return Pattern(
        initiator_known="->" in before,
        responder_known="<-" in before,
        messages=tuple(cast("tuple[Token, ...]", tuple(message.split())) for message in messages),
    )


PATTERNS: Final = {name: _read(notation) for name, notation in _TABLE.items()}
