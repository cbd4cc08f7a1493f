"""Writes the golden bytes of invite links: `python -m tests.contract.vectors.write_links`."""

import base64
import json
from pathlib import Path

from tests.ids import id_of
from varde_contract.card import CardKey
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.links import GroupLink, PersonLink, root_key_hash, token_digest
from varde_contract.rest.talk import ChainHead
from varde_contract.user_names import normal_user_name, skeleton

PATH = Path(__file__).parent / "links.json"


def text_of(payload: bytes) -> str:
    """Base64 as links have it, made here once more: nothing of the code that is tested."""
    return base64.urlsafe_b64encode(payload).decode().rstrip("=")


def render() -> str:
    """The text of the file."""
    seed = bytes(range(32))
    person = PersonLink(
        "https://varde.example",
        ProfileId(id_of(1)),
        AccountId(id_of(2)),
        root_key_hash(b"r" * 32),
        seed,
        CardKey(3, b"c" * 32),
    )
    group = GroupLink(
        "https://varde.example", ConversationId(id_of(3)), seed, ChainHead(7, b"h" * 32), CardKey(4, b"t" * 32)
    )
    account, profile, root = AccountId(id_of(5)), ProfileId(id_of(6)), root_key_hash(b"k" * 32)
    links = [
        {
            "url": person.url,
            "kind": "person",
            "profile": str(person.profile),
            "account": str(person.account),
            "root_key": (b"r" * 32).hex(),
            "root_hash": person.root_hash.hex(),
            "secret": person.secret.hex(),
            "card": {"number": 3, "key": (b"c" * 32).hex()},
            "token": person.token.hex(),
            "digest": token_digest(person.token).hex(),
            "proof": {
                "account": str(account),
                "profile": str(profile),
                "root_key": (b"k" * 32).hex(),
                "value": person.proof(account, profile, root).hex(),
            },
        },
        {
            "url": group.url,
            "kind": "group",
            "conversation": str(group.conversation),
            "seed": group.seed.hex(),
            "key": group.key.hex(),
            "head": {"number": group.head.number, "hash": group.head.hash.hex()},
            "card": {"number": 4, "key": (b"t" * 32).hex()},
        },
    ]
    typed = ("Ola_Nordmann", "@kari.n", "\uff2f\uff2c\uff21", "r0rn", "vvilly", "cl.1i58b2")
    names = [
        {"typed": each, "name": normal_user_name(each), "skeleton": skeleton(normal_user_name(each))} for each in typed
    ]
    return json.dumps({"links": links, "user_names": names}, indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
