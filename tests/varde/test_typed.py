"""What people type and paste: addresses, codes and URLs with what comes along, and what cannot be meant."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde.errors import VardeError
from varde.http import check_url
from varde.typed import read_code, read_email, read_link, read_url

SECRET = "s3cret"
LINK = "https://chat.example.org/i#AQFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE"


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("a@b.no", "a@b.no"),
        (" a@b.no\r\n", "a@b.no"),
        ("a\u200b@b.no\ufeff", "a@b.no"),
        ("mailto:a@b.no", "a@b.no"),
        ("A+tag@Example.ORG", "A+tag@Example.ORG"),
        ("blå@blåbær.no", "blå@blåbær.no"),
        ("🙂@example.org", "🙂@example.org"),
    ],
)
def test_an_address_is_read(typed: str, address: str) -> None:
    """As it was meant."""
    assert read_email(typed) == address


@pytest.mark.parametrize(
    "typed",
    [
        *("", "a", "@", "a@", "@b.no", "a@b@c.no", '"a b"@c.no', "<a@b.no>", "Anna <a@b.no>", "a@b.no, c@d.no"),
        *("a@b.no\r\nBcc: c@d.no", "a@[127.0.0.1]", "a b@c.no", "a" * 250 + "@b.no", "a@b.no\0"),
    ],
)
def test_what_is_no_address_is_told(typed: str) -> None:
    """Before anything is sent, and without a word of the API's."""
    with pytest.raises(VardeError, match="this is no e-mail address") as caught:
        read_email(typed)
    assert caught.value.code == "bad-email"


@pytest.mark.parametrize(
    "typed",
    ["12345678", " 1234 5678\r\n", "1234-5678", "1234\u20135678", "12\u200b345678", "1234.5678"],
)
def test_a_code_is_read(typed: str) -> None:
    """However a letter groups it, and with what was pasted along."""
    assert read_code(typed) == "12345678"


@pytest.mark.parametrize("typed", ["", "code", "1234567x", "1", "1" * 11, "²²²²²²²²", "-"])
def test_what_is_no_code_is_told(typed: str) -> None:
    """It costs none of the five attempts."""
    with pytest.raises(VardeError, match="no one-time code"):
        read_code(typed)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://api.example.org", "https://api.example.org"),
        (" https://api.example.org/\n", "https://api.example.org"),
        ("\u200bhttps://api.example.org:8400/varde/", "https://api.example.org:8400/varde"),
        ("HTTPS://API.example.org", "HTTPS://API.example.org"),
        ("http://127.0.0.1:8400", "http://127.0.0.1:8400"),
        ("http://[::1]:8400", "http://[::1]:8400"),
        ("http://localhost", "http://localhost"),
        ("https://blåbær.no", "https://blåbær.no"),
        ("https://a.example.", "https://a.example."),
    ],
)
def test_a_url_is_read(typed: str, url: str) -> None:
    """As it was meant."""
    assert check_url(typed) == url


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("127.0.0.1:8400", "how to get there"),
        ("localhost:8400", "how to get there"),
        ("api.example.org", "how to get there"),
        ("", "how to get there"),
        ("ftp://a.example", "reached by https"),
        ("file:///etc/passwd", "not a URL"),
        ("https://", "not a URL"),
        ("https://a..b", "not a URL"),
        ("https://exa mple.org", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://a.example:x", "not a URL"),
        ("https://a.example:0", "not a URL"),
        ("https://a.example:65536", "not a URL"),
        ("https://a.example:99999999999", "not a URL"),
        ("https://" + "a" * 70_000, "not a URL"),
        (f"https://u:{SECRET}/#@a.example", "not a URL"),
        ("http://a.example", "in the clear"),
        ("http://127.0.0.1.example.org", "in the clear"),
    ],
)
def test_what_is_no_url_is_told(typed: str, said: str) -> None:
    """Each in its own words, and no password in any."""
    with pytest.raises(VardeError, match=said) as caught:
        check_url(typed)
    assert caught.value.code == "bad-url"
    assert SECRET not in f"{caught.value}{caught.value.advice}"


@pytest.mark.parametrize(
    "typed",
    [LINK, f"\u200b {LINK}\u200b\r\n", f"{LINK}.", f"({LINK})"[1:], f"{LINK[:40]}\r\n {LINK[40:]}", f"\ufeff{LINK}”,"],
)
def test_a_link_is_read_as_it_is_pasted(typed: str) -> None:
    """From the end of a sentence, or a letter that has broken it into lines."""
    assert read_link(typed) == LINK


@given(st.text(max_size=80))
def test_nothing_typed_is_a_surprise(typed: str) -> None:
    """Read, or refused by name."""
    for read in (read_email, read_code, read_url):
        with suppress(VardeError):
            assert read(typed)
