"""The values of variables: what is taken, and what is refused by the variable's name without showing what it holds."""

import pytest

from settings.environment import Address, BadAddress, ConfigError, read_number


@pytest.mark.parametrize("text", ["0", "-1", "+1", "1.5", "1_0", " 5", "", "6", "\N{SUPERSCRIPT TWO}", "9" * 5_000])
def test_a_number_out_of_bounds_or_none_is_refused(text: str) -> None:
    """The text says what would be right."""
    with pytest.raises(ConfigError, match=r"^VARDE_X must be a whole number of things from 1 to 5$"):
        read_number({"VARDE_X": text}, "VARDE_X", 3, least=1, most=5, unit="things")


@pytest.mark.parametrize(("environ", "number"), [({}, 3), ({"VARDE_X": "1"}, 1), ({"VARDE_X": "005"}, 5)])
def test_a_number_within_its_bounds_is_taken(environ: dict[str, str], number: int) -> None:
    """Both bounds are included; without the variable the default holds."""
    assert read_number(environ, "VARDE_X", 3, least=1, most=5) == number


@pytest.mark.parametrize("text", ["::1:8401", "a/b:1", "a:1/path", "[]:1", "host:" + "9" * 5_000])
def test_what_could_be_two_things_is_no_address(text: str) -> None:
    """IPv6 needs its brackets, and a URL is no address."""
    with pytest.raises(BadAddress):
        Address.parse(text)
