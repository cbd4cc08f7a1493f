"""Invite links: what is made is read, what is not whole is told in words, and nothing of it is in any of those."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.contract.vectors import write_links
from tests.ids import id_of
from varde_contract.card import CardKey
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.links import (
    LINK_CHARACTERS,
    GroupLink,
    Link,
    LinkFault,
    PersonLink,
    encode_link,
    normal_origin,
    parse_link,
    root_key_hash,
    token_digest,
)
from varde_contract.rest.talk import ChainHead

ORIGIN = "https://varde.example"
PERSON = PersonLink(ORIGIN, ProfileId(id_of(1)), AccountId(id_of(2)), b"r" * 32, b"s" * 32, CardKey(3, b"c" * 32))
GROUP = GroupLink(ORIGIN, ConversationId(id_of(3)), b"e" * 32, ChainHead(7, b"h" * 32), CardKey(4, b"t" * 32))
OTHER = replace(PERSON, profile=ProfileId(id_of(9)))


def words_of(text: str) -> str:
    """How a text is refused."""
    with pytest.raises(LinkFault) as refused:
        parse_link(text)
    return str(refused.value)


BARE = replace(PERSON, card=None), replace(GROUP, card=None)


@pytest.mark.parametrize("link", [PERSON, GROUP, *BARE, replace(PERSON, origin="http://[::1]:8400")])
def test_a_link_is_read_as_it_was_made(link: Link) -> None:
    """Also with white space around it, and in the angle brackets of a mail."""
    for text in (encode_link(link), f"  {encode_link(link)}\n", f"<{encode_link(link)}>"):
        assert parse_link(text) == link
    address, _, fragment = link.url.partition("#")
    assert address == f"{link.origin}/i"
    assert len(fragment) <= 192


def test_a_link_does_not_print_its_secret() -> None:
    """Neither in a log nor in a traceback."""
    assert repr(PERSON) == "PersonLink(...)"
    assert repr(GROUP) == "GroupLink(...)"


@pytest.mark.parametrize("link", [PERSON, GROUP])
def test_no_character_of_a_link_can_be_lost_or_changed(link: Link) -> None:
    """Each cut, each wrong letter and what is pasted behind it is told as that, and never taken for another link."""
    text = encode_link(link)
    start = text.index("#") + 1
    for length in range(start, len(text)):
        assert "cut off" in words_of(text[:length])
    for place in range(start, len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert words_of(changed)
    assert words_of(text + "AAAA")
    assert words_of(text + "\x00")
    assert words_of(text + "?utm=1")


@pytest.mark.parametrize(
    "text",
    [
        *("", "#", "hello", "https://varde.example/i", "https://varde.example/other#AQE", "file:///i#AQE", "/i#AQE"),
        *("https://user:password@varde.example/i#AQE", "https://[::1/i#AQE", "https://varde.example:99999999/i#AQE"),
        *("javascript:alert(1)//i#AQE", "https:///i#AQE", "https://varde.example/i?to=elsewhere#AQE", "\ud800#\ud800"),
        *("https://varde.example/i#AQ==", "https://varde.example/i#A", "https://varde.example/i#\u0661\u0661"),
    ],
)
def test_what_is_no_link_is_refused_in_words(text: str) -> None:
    """With nothing of the text in them: somebody may have pasted a password."""
    said = words_of(text)
    assert "password" not in said
    assert said.isascii()


def test_a_link_of_a_newer_version_asks_for_an_update() -> None:
    """And one that leads to what this version does not know."""
    assert "update" in words_of(f"{ORIGIN}/i#AgE")
    payload = bytes((1, 9)) + bytes(32)
    check = sha256(b"varde.v2 link check\x00" + payload).digest()[:4]
    assert "update" in words_of(f"{ORIGIN}/i#{write_links.text_of(payload + check)}")


@pytest.mark.parametrize("number", [0, 2**63, 2**64 - 1])
def test_numbers_in_a_link_have_their_bounds(number: int) -> None:
    """Whoever forges a link writes the check as well."""
    fields = PERSON.fields[:-40] + number.to_bytes(8, "big") + b"c" * 32
    payload = bytes((1, 1)) + fields
    check = sha256(b"varde.v2 link check\x00" + payload).digest()[:4]
    assert words_of(f"{ORIGIN}/i#{write_links.text_of(payload + check)}") == "this is no invite link"


@pytest.mark.parametrize("place", [0, 16])
def test_ids_in_a_link_are_ids(place: int) -> None:
    """The id of all zeros stands for nobody."""
    payload = bytes((1, 1)) + PERSON.fields[:place] + bytes(16) + PERSON.fields[place + 16 :]
    check = sha256(b"varde.v2 link check\x00" + payload).digest()[:4]
    assert words_of(f"{ORIGIN}/i#{write_links.text_of(payload + check)}") == "this is no invite link"


def test_a_text_of_a_megabyte_is_not_looked_at() -> None:
    """Whatever it holds."""
    for text in ("A" * 1_000_000, encode_link(PERSON) + " " * LINK_CHARACTERS):
        assert "too long" in words_of(text)


@given(st.text(max_size=300))
def test_any_text_is_a_link_or_refused_by_name(text: str) -> None:
    """Behind a true beginning, too."""
    for candidate in (text, f"{ORIGIN}/i#{text}"):
        try:
            assert isinstance(parse_link(candidate), PersonLink | GroupLink)
        except LinkFault:
            continue


def test_an_address_has_one_spelling() -> None:
    """Upper case, the port that the scheme has anyway, and a dot at the end lead to the same server."""
    for url in ("HTTPS://Varde.Example:443/i", "https://varde.example./", "https://varde.example"):
        assert normal_origin(url) == ORIGIN
    assert normal_origin("https://varde.example:8443/v1") == f"{ORIGIN}:8443"
    assert normal_origin("http://varde.example:443") == "http://varde.example:443"


def test_a_proof_is_good_for_nobody_else() -> None:
    """Another account, profile, root key, link or secret: each makes another proof."""
    asking = AccountId(id_of(5)), ProfileId(id_of(6)), b"k" * 32
    proofs = {
        PERSON.proof(*asking),
        PERSON.proof(AccountId(id_of(7)), *asking[1:]),
        PERSON.proof(asking[0], ProfileId(id_of(7)), asking[2]),
        PERSON.proof(*asking[:2], b"l" * 32),
        OTHER.proof(*asking),
        replace(PERSON, secret=b"S" * 32).proof(*asking),
    }
    assert len(proofs) == 6


def test_what_the_server_is_told_says_nothing_of_the_secret() -> None:
    """Three hashes, of which none is another: what it keeps cannot be shown, and what is shown proves nothing."""
    assert len({PERSON.secret, PERSON.token, token_digest(PERSON.token), root_key_hash(PERSON.secret)}) == 4


def test_the_bytes_are_those_of_the_first_day() -> None:
    """Golden bytes: links, tokens and proofs that were handed on once are good for ever."""
    written = write_links.PATH.read_text(encoding="utf-8")
    assert written == write_links.render(), (
        "links have changed; if it was meant to: python -m tests.contract.vectors.write_links"
    )
    for vector in json.loads(written)["links"]:
        link = parse_link(vector["url"])
        assert encode_link(link) == vector["url"]
        if isinstance(link, PersonLink):
            assert link.token.hex() == vector["token"]
            asking = AccountId(id_of(5)), ProfileId(id_of(6)), root_key_hash(b"k" * 32)
            assert link.proof(*asking).hex() == vector["proof"]["value"]
