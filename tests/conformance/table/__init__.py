"""The table of cases on an authenticated connection, by section."""

from typing import Final

from tests.conformance.case import Case
from tests.conformance.table import closing, control, fragmentation, framing, limits, reserved, texts

SECTIONS: Final[dict[str, tuple[Case, ...]]] = {
    "Framing": framing.CASES,
    "Pings and pongs": control.CASES,
    "Reserved bits and opcodes": reserved.CASES,
    "Fragmentation": fragmentation.CASES,
    "Texts": texts.CASES,
    "Closing": closing.CASES,
    "Limits": limits.CASES,
}
