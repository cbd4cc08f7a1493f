"""The office that hands out what is needed before anybody connects: keys and tickets.

A program of its own, so that neither the server's memory nor the generator's time pays for it.
"""

import argparse
import os
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.keyring import MemberSecrets, NodeSecrets, write_members, write_node
from bench.plan import account_of, device_of, profile_of
from domain.people.model import Device
from domain.people.tickets import TicketIssuer
from varde_contract.noise import KeyPair


def issue(members: int, folder: Path) -> None:
    """Write the files of `bench.keyring` for so many members into a folder."""
    node, ticket_key = KeyPair.generate(), Ed25519PrivateKey.generate()
    issuer = TicketIssuer(ticket_key.private_bytes_raw(), entropy=os.urandom)
    read_ms = time.time_ns() // 1_000_000
    write_members(folder, node.public, [_member(number, issuer, read_ms) for number in range(members)])
    write_node(folder, NodeSecrets(node.private_bytes(), ticket_key.public_key().public_bytes_raw()))


def _member(number: int, issuer: TicketIssuer, read_ms: int) -> MemberSecrets:
    noise = KeyPair.generate()
    device = Device(
        account=account_of(number),
        id=device_of(number),
        noise_key=noise.public,
        signing_key=b"",
        identity_key=b"",
        signature=b"",
        profiles=(profile_of(number),),
        created_ms=read_ms,
    )
    return MemberSecrets(noise.private_bytes(), issuer.issue(device, read_ms=read_ms).text)


if __name__ == "__main__":
    PARSER = argparse.ArgumentParser(description=__doc__)
    PARSER.add_argument("--members", type=int, required=True)
    PARSER.add_argument("--folder", type=Path, required=True)
    GIVEN = PARSER.parse_args()
    issue(GIVEN.members, GIVEN.folder)
