"""Whom to trust (C2SP tlog-policy): the keys of logs, of witnesses, and how many of these must have cosigned."""

from collections.abc import Callable
from typing import Final, NamedTuple

from varde_contract.errors import PeerFault
from varde_contract.transparency.checkpoint import signed_time
from varde_contract.transparency.note import Note, SignatureType, VerifierKey

NONE: Final = "none"
COSIGNATURES: Final = frozenset({SignatureType.COSIGNATURE_ED25519, SignatureType.COSIGNATURE_ML_DSA_44})


class Witness(NamedTuple):
    """A witness by the key it signs with, and where it can be asked."""

    key: VerifierKey
    url: str


class Group(NamedTuple):
    """So many of these must have cosigned; members are witnesses or groups."""

    least: int
    members: tuple[str, ...]


class Policy(NamedTuple):
    """A policy file, read."""

    logs: tuple[VerifierKey, ...]
    witnesses: dict[str, Witness]
    groups: dict[str, Group]
    quorum: str

    def log_keys(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the keys of a log by its origin; none when it is unknown."""
        return tuple(key for key in self.logs if key.name == origin)

    def accepts(self, note: Note, holds: Callable[[int], bool] = lambda _: True) -> bool:
        """Whether enough witnesses have cosigned, each at a time (in seconds) that `holds`.

        Raises PeerFault for a cosignature of a known witness that does not verify.
        """
        return self.quorum == NONE or self._accepts(self.quorum, note, holds)

    def _accepts(self, name: str, note: Note, holds: Callable[[int], bool]) -> bool:
        if name in self.witnesses:
            time = signed_time(note, self.witnesses[name].key)
            return time is not None and holds(time)
        group = self.groups[name]
        return sum(self._accepts(member, note, holds) for member in group.members) >= group.least


def parse_policy(text: str) -> Policy:
    """Read a policy file. Raises PeerFault, naming the line."""
    reading = _Reading()
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        words = [word for word in words if word]
        if words and not words[0].startswith("#"):
            try:
                reading.take(words)
            except PeerFault as fault:
                raise PeerFault(f"line {number} of the policy: {fault}") from None
    if reading.quorum is None:
        raise PeerFault("a policy has a quorum")
    return Policy(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum)


class _Reading:
    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._add_log(VerifierKey.parse(vkey))
            case ["witness", name, vkey]:
                self._add_witness(name, Witness(VerifierKey.parse(vkey), ""))
            case ["witness", name, vkey, url]:
                self._add_witness(name, Witness(VerifierKey.parse(vkey), url))
            case ["group", name, least, *members] if members:
                self._add_group(name, least, tuple(members))
            case ["quorum", name] if self.quorum is None and (name == NONE or self._is_known(name)):
                self.quorum = name
            case _:
                raise PeerFault("not understood, or of something that was not said before")

    def _is_known(self, name: str) -> bool:
        return name in self.witnesses or name in self.groups

    def _add_log(self, key: VerifierKey) -> None:
        if key.type is SignatureType.COSIGNATURE_ED25519 or any(key.public == each.public for each in self.logs):
            raise PeerFault("this is no key of a log, or it is there twice")
        self.logs.append(key)

    def _add_witness(self, name: str, witness: Witness) -> None:
        again = any(witness.key.public == each.key.public for each in self.witnesses.values())
        if again or witness.key.type not in COSIGNATURES or self._is_known(name) or name == NONE:
            raise PeerFault("this is no key of a witness, or key or name are there twice")
        self.witnesses[name] = witness

    def _add_group(self, name: str, least: str, members: tuple[str, ...]) -> None:
        if self._is_known(name) or name == NONE or not all(map(self._is_known, members)):
            raise PeerFault("the name is there already, or a member is not")
        # Once in all of the file, so that no witness counts twice.
        if len(set(members)) != len(members) or self._members & set(members):
            raise PeerFault("a member belongs to one group, once")
        wanted = {"any": 1, "all": len(members)}.get(least, int(least) if least.isascii() and least.isdigit() else 0)
        if not 1 <= wanted <= len(members):
            raise PeerFault("so many members there are not")
        self._members |= set(members)
        self.groups[name] = Group(wanted, members)
