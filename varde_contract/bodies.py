"""What an envelope can say: text, and what refers to a text. Each is an array, its first element the tag.

Fields with a default stand at the end and may be missing; what a later client adds behind them passes.
"""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ClientId, DeviceId, ProfileId, decode_binary_id
from varde_contract.limits import FIRST_WORDS_CHARACTERS, SEQ_MAX
from varde_contract.names import NAME_CHARACTERS, clean_name
from varde_contract.secret_struct import SecretStruct

DIGEST_BYTES = 32
GROUP_SESSION_BYTES = 32
TEXT_CHARACTERS = 40_000
MENTIONS = 64
"""In one text."""
EMOJI_BYTES = 64
"""A family of four with skin tones takes 41."""
LONGEST_TIMER_S = 366 * 24 * 60 * 60


class MessageRef(Struct, frozen=True, array_like=True):
    """Names a message of the same conversation: by its device and client id, which it has before any number."""

    device: DeviceId
    client_id: ClientId


class Mention(Struct, frozen=True, array_like=True):
    """The characters from `start` on (Unicode code points) name this profile."""

    start: Annotated[int, Meta(ge=0, le=TEXT_CHARACTERS)]
    length: Annotated[int, Meta(ge=1, le=TEXT_CHARACTERS)]
    profile: ProfileId


Mentions: TypeAlias = Annotated[tuple[Mention, ...], Meta(max_length=MENTIONS)]
Written: TypeAlias = Annotated[str, Meta(max_length=TEXT_CHARACTERS)]
Timer: TypeAlias = Annotated[int, Meta(ge=0, le=LONGEST_TIMER_S)]
"""Seconds after which a message is deleted; 0: never."""


class Text(SecretStruct, frozen=True, array_like=True, tag="text"):
    """What somebody wrote, perhaps in reply to a message or in its thread. `timer` is what the sender had set."""

    text: Written
    mentions: Mentions = ()
    reply_to: MessageRef | None = None
    thread: MessageRef | None = None
    timer: Timer = 0


class React(SecretStruct, frozen=True, array_like=True, tag="react"):
    """An emoji on a message, or no more."""

    target: MessageRef
    emoji: Annotated[str, Meta(min_length=1, max_length=EMOJI_BYTES)]
    on: bool


class Edit(SecretStruct, frozen=True, array_like=True, tag="edit"):
    """The text of a message of one's own account from now on."""

    target: MessageRef
    text: Written
    mentions: Mentions = ()


class Delete(Struct, frozen=True, array_like=True, tag="delete"):
    """A message of one's own account is taken back."""

    target: MessageRef


class SetTimer(Struct, frozen=True, array_like=True, tag="timer"):
    """Messages of this conversation are deleted so long after they were read, from now on."""

    timer: Timer


class Contact(SecretStruct, frozen=True, array_like=True, tag="contact"):
    """A contact card, passed on: somebody whom the sender vouches for, by the name that the sender calls them.

    It pins account and root key, so that nobody has to believe the server who that is: only the sender.
    """

    profile: ProfileId
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
    account: AccountId
    root_hash: Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]


class GroupKey(SecretStruct, frozen=True, array_like=True, tag="group-key"):
    """The sender key of a group: opens this sender's messages from now on. Only ever inside Olm."""

    session: Annotated[bytes, Meta(min_length=GROUP_SESSION_BYTES, max_length=GROUP_SESSION_BYTES)]
    key: Annotated[str, Meta(min_length=1, max_length=1_024)]


class Empty(Struct, frozen=True, array_like=True, tag="empty"):
    """Nothing to show: keeps a ratchet turning."""


class Invite(SecretStruct, frozen=True, array_like=True, tag="invite"):
    """The first words to somebody who has not accepted yet, and the statement that invites them.

    It is the only thing that is ever encrypted for them, comes with the request and not in the log, and stands in no
    transcript.
    """

    number: Annotated[int, Meta(ge=0, le=SEQ_MAX)]
    hash: Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
    text: Annotated[str, Meta(max_length=FIRST_WORDS_CHARACTERS)]
    proof: Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)] | None = None
    """That the writer has a link of the reader's: `links.PersonLink.proof`."""


Saying: TypeAlias = Text | React | Edit | Delete | SetTimer | Contact
"""What a person does in a conversation. The others are for ratchets and keys."""
Body: TypeAlias = Saying | GroupKey | Empty | Invite


def check_body(body: object) -> None:
    """Check what types do not say: mentions inside their text, in order and apart; an emoji in its bounds.

    Raises PeerFault.
    """
    match body:
        case Text() | Edit():
            _check_mentions(body.text, body.mentions)
        case Contact():
            _check_name(body.name)
        case React():
            if len(body.emoji.encode(errors="replace")) > EMOJI_BYTES or not _is_emoji(body.emoji):
                raise PeerFault("a reaction is not an emoji")


def check_saying(saying: Saying) -> None:
    """Check what is about to be said as a reader will. Raises ValueError, in words."""
    try:
        check_body(_decoder.decode(_encoder.encode(saying)))
    except (msgspec.ValidationError, PeerFault) as fault:
        raise ValueError(str(fault)) from None


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder = msgspec.msgpack.Decoder(Saying, dec_hook=decode_binary_id)


def _check_mentions(text: str, mentions: Sequence[Mention]) -> None:
    end = 0
    for mention in mentions:
        if mention.start < end or mention.start + mention.length > len(text):
            raise PeerFault("a mention stands outside its text, or in another one")
        end = mention.start + mention.length


def _check_name(name: str) -> None:
    try:
        clean = clean_name(name)
    except ValueError:
        clean = ""
    if clean != name:
        raise PeerFault("the name of a contact is not one that can be shown")


def _is_emoji(text: str) -> bool:
    # What an emoji is changes with every year's Unicode. So only what would be abused is refused: words, and what has
    # no picture at all.
    return not any(each.isspace() or each.isalpha() or (each.isascii() and each not in "0123456789#*") for each in text)
