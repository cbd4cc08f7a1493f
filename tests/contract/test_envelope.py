"""The envelope binds what the ratchets do not: each lie of a relay about a message is found."""

from contextlib import nullcontext, suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract import examples as x
from tests.contract.edges import Edge, edges
from tests.contract.strategies import structs
from tests.ids import id_of
from varde_contract import bodies
from varde_contract import envelope as e
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.ids import DeviceId
from varde_contract.padding import BUCKETS, CONTENT_BYTES, pad
from varde_contract.talk import ConversationKind

EDGES = [edge for kind in (bodies.Text, bodies.GroupKey, bodies.Invite) for edge in edges(kind)]
ENVELOPE = x.ENVELOPES[0]
encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def said_of(envelope: e.Envelope) -> e.Said:
    """What an honest relay says of a message."""
    return e.Said(*(getattr(envelope, field) for field in e.Said._fields))


def digest_of(envelope: e.Envelope) -> bytes:
    """The digest of a message as its sender takes it."""
    return e.message_digest(e.encode_envelope(envelope))


def content_of(envelope: e.Envelope) -> bytes:
    """The bytes of an envelope without parts, before they are padded."""
    return encoder.encode(msgspec.structs.astuple(envelope)[:-1])


def with_more_fields(content: bytes, count: int) -> bytes:
    """The same array with a header that counts more items; the caller appends them."""
    assert content[:2] == b"\xdc\x00"
    return content[:2] + bytes((content[2] + count,)) + content[3:]


def with_body(body: bodies.Body) -> e.Envelope:
    """The envelope of the examples, to one device, around another body."""
    return msgspec.structs.replace(ENVELOPE, body=body)


known = structs(e.Envelope).map(lambda made: msgspec.structs.replace(made, version=e.ENVELOPE_VERSION, parts=None))


@given(known.filter(lambda made: made.recipient is not None))
def test_an_honest_relay_is_believed(envelope: e.Envelope) -> None:
    """What was written is read, padded to a bucket on the way; unless it breaks a rule that its types do not say."""
    plaintext = e.encode_envelope(envelope)
    try:
        bodies.check_body(envelope.body)
    except PeerFault:
        with pytest.raises(PeerFault, match=r"mention|emoji|name of a contact"):
            e.open_envelope(plaintext, said_of(envelope))
        return
    assert len(plaintext) in BUCKETS
    assert e.open_envelope(plaintext, said_of(envelope)) == envelope


@pytest.mark.parametrize("field", e.Said._fields)
def test_a_relay_that_lies_is_found_out(field: str) -> None:
    """A message that is shown as another sender's, another conversation's or another id's is refused by that name."""
    other = ConversationKind.DM if field == "kind" else id_of(1)
    lie = said_of(msgspec.structs.replace(ENVELOPE, **{field: other}))
    with pytest.raises(PeerFault, match=f"written for another {field}"):
        e.open_envelope(e.encode_envelope(ENVELOPE), lie)


def test_a_group_message_cannot_pass_for_a_private_one() -> None:
    """Whether a message was for one device or for the group is bound, in both directions."""
    private, group = ENVELOPE, x.ENVELOPES[3]
    for written, shown in ((private, group), (group, private)):
        with pytest.raises(PeerFault, match="another recipient"):
            e.open_envelope(e.encode_envelope(written), said_of(written)._replace(recipient=shown.recipient))


def test_a_group_key_outside_of_olm_is_refused() -> None:
    """A sender key that came through Megolm would let one stolen group key beget the next."""
    loose = msgspec.structs.replace(with_body(bodies.GroupKey(bytes(32), "key")), recipient=None)
    with pytest.raises(PeerFault, match="outside Olm"):
        e.open_envelope(e.encode_envelope(loose), said_of(loose))


@pytest.mark.parametrize("version", [1, 3, 255])
def test_another_version_is_refused(version: int) -> None:
    """An envelope of a later version is not guessed at."""
    later = msgspec.structs.replace(ENVELOPE, version=version)
    with pytest.raises(PeerFault, match="unknown version"):
        e.open_envelope(e.encode_envelope(later), said_of(later))


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
def test_limits_of_bodies(edge: Edge) -> None:
    """The longest text that its type allows is taken, a longer one is the sender's fault; the same for keys."""
    assert isinstance(edge.struct, bodies.Text | bodies.GroupKey | bodies.Invite)
    envelope = with_body(edge.struct)
    content = content_of(envelope)
    if len(content) > CONTENT_BYTES:
        with pytest.raises(LocalMisuse):
            e.encode_envelope(envelope)
    elif edge.good:
        # As many mentions as there may be are of no text here.
        with suppress(PeerFault) if getattr(edge.struct, "mentions", ()) else nullcontext():
            assert e.open_envelope(pad(content), said_of(envelope)) == envelope
    else:
        with pytest.raises(PeerFault, match="not well-formed"):
            e.open_envelope(pad(content), said_of(envelope))


@pytest.mark.parametrize("letter", ["a", "ø", "🔥"])
def test_the_longest_text_fits_its_envelope(letter: str) -> None:
    """Any text of the promised size goes into the largest bucket, whatever its letters cost."""
    text = letter * (bodies.TEXT_CHARACTERS // len(letter.encode()))
    envelope = with_body(bodies.Text(text))
    assert e.open_envelope(e.encode_envelope(envelope), said_of(envelope)) == envelope


@pytest.mark.parametrize("body", [["poll", 7, {"a": 1}], ["text-2"], ["", b"x"]])
def test_a_body_of_a_later_client_is_no_fault(body: list[object]) -> None:
    """A body that begins with an unknown word is handed out as unknown; who wrote it, and where, is checked all the
    same.
    """
    content = content_of(ENVELOPE)[: -len(encoder.encode(ENVELOPE.body))] + encoder.encode(body)
    envelope = e.open_envelope(pad(content), said_of(ENVELOPE))
    assert isinstance(envelope, e.UnknownEnvelope)
    assert envelope.client_id == ENVELOPE.client_id
    with pytest.raises(e.Misattributed, match="another device"):
        e.open_envelope(pad(content), said_of(ENVELOPE)._replace(device=DeviceId(id_of(1))))


@pytest.mark.parametrize("body", [["text"], ["text", 7], [], [7], {"text": "x"}, "text", None])
def test_a_known_body_with_wrong_fields_is_malformed(body: object) -> None:
    """A word that is known promises its fields. What has no word is no body."""
    content = content_of(ENVELOPE)[: -len(encoder.encode(ENVELOPE.body))] + encoder.encode(body)
    with pytest.raises(PeerFault, match="not well-formed") as caught:
        e.open_envelope(pad(content), said_of(ENVELOPE))
    assert not isinstance(caught.value, e.Misattributed)


def test_a_later_field_at_the_end_is_let_pass() -> None:
    """A newer client may say more in an envelope of this version."""
    content = content_of(ENVELOPE)
    longer = pad(with_more_fields(content, 2) + b"\xc0\x07")
    assert e.open_envelope(longer, said_of(ENVELOPE)) == ENVELOPE
    assert e.message_digest(longer) != e.message_digest(e.encode_envelope(ENVELOPE))


@pytest.mark.parametrize("nested", [b"\x91" * 40_000 + b"\xc0", b"\xdd\xff\xff\xff\xff"], ids=["deep", "endless"])
def test_an_envelope_that_cannot_be_read_is_refused(nested: bytes) -> None:
    """A member of the conversation cannot crash the others with what only they can decrypt."""
    content = content_of(ENVELOPE)
    with pytest.raises(PeerFault, match="not well-formed"):
        e.open_envelope(pad(with_more_fields(content, 1) + nested), said_of(ENVELOPE))


PART = x.ENVELOPES[-2]
WRONG_PARTS = {
    "later ones": {"parts": e.Parts(2, 4)},
    "not up to the message": {"parts": e.Parts(1, 1)},
    "backwards": {"parts": e.Parts(4, 3)},
    "itself, for everybody": {"recipient": None, "body": bodies.Text("x")},
    "in a dm": {"kind": ConversationKind.DM},
}


@pytest.mark.parametrize("change", WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_only_the_parts_before_a_message_are_named(change: dict[str, object]) -> None:
    """Parts are those up to the message, or to the one before it, and there are none outside groups."""
    wrong = msgspec.structs.replace(PART, **change)
    with pytest.raises(PeerFault, match="parts"):
        e.open_envelope(e.encode_envelope(wrong), said_of(wrong))
    assert e.open_envelope(e.encode_envelope(PART), said_of(PART)) == PART


@given(st.binary(max_size=255), st.booleans())
def test_other_plaintext_is_refused(content: bytes, padded: bool) -> None:  # noqa: FBT001 - drawn by Hypothesis
    """What is no envelope is the sender's fault and nothing else."""
    with pytest.raises(PeerFault):
        e.open_envelope(pad(content) if padded else content, said_of(ENVELOPE))


def test_the_digest_names_the_message_and_not_its_copy() -> None:
    """Every copy of a message has one digest, whoever it is for, and a change of anything else makes another one."""
    digest = digest_of(ENVELOPE)
    for recipient in (x.BOB_LAPTOP, None):
        assert digest_of(msgspec.structs.replace(ENVELOPE, recipient=recipient)) == digest
    others: list[dict[str, object]] = [
        {"counter": 2},
        {"previous": bytes(32)},
        {"chain": e.ChainHead(4, bytes(32))},
        {"lists": bytes(32)},
        {"body": bodies.Text("another")},
    ]
    digests = {digest_of(msgspec.structs.replace(ENVELOPE, **each)) for each in others}
    assert len(digests | {digest}) == len(others) + 1


@pytest.mark.parametrize("content", [b"", b"\x90", b"\xc0", b"\x91\xc1"])
def test_what_is_no_envelope_has_no_digest(content: bytes) -> None:
    """A digest is taken of an envelope or not at all."""
    with pytest.raises(PeerFault, match="not well-formed"):
        e.message_digest(pad(content))


sessions = st.binary(min_size=bodies.GROUP_SESSION_BYTES, max_size=bodies.GROUP_SESSION_BYTES)


@given(st.sampled_from(e.Cipher), sessions, st.binary(min_size=1, max_size=100))
def test_sealed_parts_come_apart_as_they_were_joined(cipher: e.Cipher, session: bytes, ciphertext: bytes) -> None:
    """The bytes in clear say version, cipher and, for Megolm, which session."""
    parts = e.SealedParts(cipher, session if cipher is e.Cipher.MEGOLM else b"", ciphertext)
    sealed = e.join_sealed(parts)
    assert sealed[:2] == bytes((e.ENVELOPE_VERSION, cipher))
    assert e.split_sealed(sealed) == parts


@pytest.mark.parametrize(
    ("sealed", "why"),
    [
        (b"", "no known cipher"),
        (b"\x02", "no known cipher"),
        (b"\x02\x00x", "no known cipher"),
        (b"\x02\xffx", "no known cipher"),
        (b"\x01\x01x", "unknown version"),
        (b"\x00\x03" + bytes(40), "unknown version"),
        (b"\x02\x01", "too short"),
        (b"\x02\x02", "too short"),
        (b"\x02\x03" + bytes(bodies.GROUP_SESSION_BYTES), "too short"),
    ],
)
def test_a_ciphertext_that_names_no_ratchet_is_refused(sealed: bytes, why: str) -> None:
    """Bytes that no ratchet could open are refused before one is asked."""
    with pytest.raises(PeerFault, match=why):
        e.split_sealed(sealed)


@pytest.mark.parametrize(
    "mentions",
    [[(0, 2), (2, 3)], [(4, 1)], [(0, 5)]],
)
def test_mentions_inside_their_text_pass(mentions: list[tuple[int, int]]) -> None:
    """Counted in characters, whatever they cost in bytes."""
    text = bodies.Text("hei 🔥", tuple(bodies.Mention(*each, x.BOB_PRIVAT) for each in mentions))
    assert e.open_envelope(e.encode_envelope(with_body(text)), said_of(with_body(text))) == with_body(text)


@pytest.mark.parametrize("mentions", [[(4, 2)], [(5, 1)], [(0, 3), (2, 1)], [(2, 1), (0, 1)]])
def test_mentions_outside_their_text_are_refused(mentions: list[tuple[int, int]]) -> None:
    """Nor may one stand in another, or before the one before it: a screen would show what nobody wrote."""
    text = bodies.Edit(
        bodies.MessageRef(x.BOB_PHONE, x.CLIENT_ID),
        "hei 🔥",
        tuple(bodies.Mention(*each, x.BOB_PRIVAT) for each in mentions),
    )
    with pytest.raises(PeerFault, match="a mention"):
        e.open_envelope(e.encode_envelope(with_body(text)), said_of(with_body(text)))


@pytest.mark.parametrize(
    ("emoji", "good"),
    [
        ("🔥", True),
        ("👩🏽‍🚀", True),
        ("1️⃣", True),
        ("❤️", True),
        ("no", False),
        (" ", False),
        ("<", False),
        ("å", False),
        ("🔥" * 17, False),
    ],
)
def test_a_reaction_is_a_picture(emoji: str, good: bool) -> None:  # noqa: FBT001
    """Not a word, which would be a message that nobody can answer."""
    react = with_body(bodies.React(bodies.MessageRef(x.BOB_PHONE, x.CLIENT_ID), emoji, on=True))
    if good:
        assert e.open_envelope(e.encode_envelope(react), said_of(react)) == react
    else:
        with pytest.raises(PeerFault, match="not an emoji"):
            e.open_envelope(e.encode_envelope(react), said_of(react))


def test_a_plain_text_takes_no_more_bytes_than_its_words() -> None:
    """What is not said is not sent: one element more would move many texts into the next bucket."""
    plain, full = with_body(bodies.Text("hei")), with_body(bodies.Text("hei", timer=60))
    sizes = [len(e._encoder.encode(e._without_defaults(each.body))) for each in (plain, full)]
    assert sizes == [10, 14]


@pytest.mark.parametrize(
    "name", ["", " ", " kari", "two\nlines", "\u202eirak", "\u2800", "a  b", "e\u0301va", "x" * 65]
)
def test_a_contact_has_a_name_that_can_be_shown(name: str) -> None:
    """As it would be kept: nothing unseen, no directions, one spelling."""
    card = bodies.Contact(x.BOB_PRIVAT, name, x.ALICE, bytes(32))
    with pytest.raises(PeerFault):
        e.open_envelope(e.encode_envelope(with_body(card)), said_of(with_body(card)))
