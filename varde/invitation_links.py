"""Invitations by link: whoever holds the private half of a key may come into a group, so many times, until a time."""

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde_contract.ids import ConversationId, ProfileId
from varde_contract.membership_statements import Via, link_statement
from varde_contract.rest.talk import ChainHead
from varde_contract.secret_struct import SecretStruct

_SEED_BYTES = 32


class InvitationLink(SecretStruct, frozen=True):
    """All that a newcomer must be told, over another way than the server: whoever has the seed comes in.

    `head` is where the chain was when the link was made. It names all that was stated before, so the server cannot make
    up another group for who comes by the link.
    """

    conversation: ConversationId
    seed: bytes
    head: ChainHead

    @property
    def key(self) -> bytes:
        """The public half, which the chain names the link by."""
        return public_key(self.seed)


def via_link(link: InvitationLink, profile: ProfileId) -> Via:
    """Return what an acceptance shows. It is good for this profile alone: seen on its way, it lets nobody in."""
    private = Ed25519PrivateKey.from_private_bytes(link.seed)
    return Via(link.key, private.sign(link_statement(link.conversation, profile)))


def new_seed() -> bytes:
    """Make the seed of a key that nobody has."""
    return os.urandom(_SEED_BYTES)


def public_key(seed: bytes) -> bytes:
    """Return the public half of a seed's key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
