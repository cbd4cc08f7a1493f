"""Writes the end-to-end vectors: `python -m tests.varde.vectors.write`. Ratchets are random, so each run writes
others.
"""

import json
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import vodozemac as v

from varde.crypto import outer
from varde.crypto.olm import OlmAccount, OwnMegolm
from varde.crypto.root_key import root_key_of, safety_number
from varde_contract.bodies import GroupKey, Text
from varde_contract.envelope import (
    ENVELOPE_VERSION,
    ChainHead,
    Cipher,
    Envelope,
    SealedParts,
    encode_envelope,
    join_sealed,
    message_digest,
)
from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, ProfileId
from varde_contract.kem import KemKeyPair
from varde_contract.talk import ConversationKind

FILE: Final = Path(__file__).with_name("e2ee.json")
PICKLE_KEY: Final = bytes(range(32))
# The 24 words of zero entropy in the BIP 39 list: public, and nobody's.
PHRASE: Final = " ".join(["abandon"] * 23 + ["art"])
CONVERSATION: Final = ConversationId(UUID("019b76da-a800-7000-8000-0000000000c0"))
ALICE: Final = AccountId(UUID("019b76da-a800-7000-8000-00000000000a"))
ALICE_PRIVAT: Final = ProfileId(UUID("019b76da-a800-7000-8000-0000000000a1"))
ALICE_PHONE: Final = DeviceId(UUID("019b76da-a800-7000-8000-000000000ad1"))
BOB: Final = AccountId(UUID("019b76da-a800-7000-8000-00000000000b"))
BOB_PHONE: Final = DeviceId(UUID("019b76da-a800-7000-8000-000000000bd1"))


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def vectors() -> dict[str, Any]:
    """Everything in the file."""
    return {"sealed": sealed(), "megolm": megolm(), "olm": olm(), "recovery": recovery(), "safety_number": safety()}


def sealed() -> list[dict[str, str]]:
    """The bytes in front of a ciphertext."""
    parts = [
        SealedParts(Cipher.OLM_PREKEY, b"", b"\x03\x0a"),
        SealedParts(Cipher.OLM, b"", b"\x00"),
        SealedParts(Cipher.MEGOLM, bytes(range(32)), b"\x04\x08"),
    ]
    return [
        {
            "cipher": each.cipher.name,
            "session": each.session.hex(),
            "ciphertext": each.ciphertext.hex(),
            "sealed": join_sealed(each).hex(),
        }
        for each in parts
    ]


def megolm() -> dict[str, Any]:
    """A sender key, and the first messages it seals."""
    own = OwnMegolm.generate()
    key = GroupKey(own.id, own.key)
    plaintexts = [encode_envelope(envelope(None, number, f"melding {number}")) for number in range(3)]
    messages = [join_sealed(SealedParts(Cipher.MEGOLM, own.id, own.encrypt(plaintext))) for plaintext in plaintexts]
    return {
        "session": key.session.hex(),
        "key": key.key,
        "messages": [
            {"step": step, "sealed": message.hex(), "plaintext": plaintext.hex()}
            for step, (message, plaintext) in enumerate(zip(messages, plaintexts, strict=True))
        ],
    }


def olm() -> dict[str, Any]:
    """A device's account as vodozemac pickles it with its KEM key, and the first messages somebody sends to it."""
    reader = v.Account()
    reader.generate_one_time_keys(1)
    (one_time,) = reader.one_time_keys.values()
    reader.mark_keys_as_published()
    writer, kem = OlmAccount.generate(), KemKeyPair.generate()
    session = writer.outbound(reader.curve25519_key.to_bytes(), one_time.to_bytes())
    ends = outer.Ends(
        CONVERSATION,
        outer.End(ALICE, ALICE_PHONE, writer.identity_key),
        outer.End(BOB, BOB_PHONE, reader.curve25519_key.to_bytes()),
    )
    state = outer.begin(kem.public, ends, 0)
    messages = []
    for number in range(2):
        plaintext = encode_envelope(envelope(BOB_PHONE, number, f"melding {number}"))
        cipher, ciphertext = session.encrypt(plaintext)
        content, state = outer.seal(state, cipher, ciphertext, ends, 0)
        messages.append(
            {
                "sealed": join_sealed(SealedParts(cipher, b"", content)).hex(),
                "outer_key": state.keys[0].hex(),
                "olm": ciphertext.hex(),
                "plaintext": plaintext.hex(),
                "digest": message_digest(plaintext).hex(),
            }
        )
    return {
        "pickle_key": PICKLE_KEY.hex(),
        "account": reader.pickle(PICKLE_KEY),
        "kem_private": kem.private_bytes().hex(),
        "conversation": str(CONVERSATION),
        "sender": {"account": str(ALICE), "device": str(ALICE_PHONE), "identity_key": writer.identity_key.hex()},
        "recipient": {"account": str(BOB), "device": str(BOB_PHONE), "identity_key": ends.peer.identity_key.hex()},
        "messages": messages,
    }


def recovery() -> dict[str, str]:
    """A phrase and the root key it stands for."""
    return {"phrase": PHRASE, "root_key": root_key_of(PHRASE).public_key().public_bytes_raw().hex()}


def safety() -> dict[str, str]:
    """Two accounts with their root keys, and the number between them."""
    one, other = bytes(32), bytes([255]) * 32
    return {
        "account": str(ALICE),
        "root_key": one.hex(),
        "other_account": str(BOB),
        "other_root_key": other.hex(),
        "number": safety_number((ALICE, one), (BOB, other)),
    }


def envelope(recipient: DeviceId | None, number: int, text: str) -> Envelope:
    """What alice says."""
    client_id = ClientId(UUID(f"019b76da-a800-7000-8000-00000000c1{number:02x}"))
    return Envelope(
        version=ENVELOPE_VERSION,
        conversation=CONVERSATION,
        kind=ConversationKind.GROUP,
        chain=ChainHead(0, bytes(32)),
        lists=bytes(32),
        account=ALICE,
        profile=ALICE_PRIVAT,
        device=ALICE_PHONE,
        recipient=recipient,
        client_id=client_id,
        written_ms=1_767_225_600_000,
        incarnation=bytes(8),
        counter=number + 1,
        previous=bytes(32) if number else None,
        seen=(),
        checkpoint=None,
        body=Text(text),
    )


if __name__ == "__main__":
    main()
