"""RFC 6455 against the live relay: every case of the table, in every way its bytes can arrive."""

import pytest

from tests.conformance.case import Case
from tests.conformance.conftest import DEVICES, RelayUnderTest
from tests.conformance.runner import ConnectClient, run_case
from tests.conformance.table import SECTIONS


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{section}: {case.name}".replace(" ", "-"))
        for section, cases in SECTIONS.items()
        for case in cases
    ],
)
async def test_the_relay_keeps_the_rfc(case: Case, connect_client: ConnectClient) -> None:
    """Whatever way the bytes of a case arrive, exactly what the RFC and the protocol page say comes of it."""
    wrong = await run_case(case, connect_client, len(DEVICES))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("section", SECTIONS)
async def test_tls_changes_nothing(section: str, tls_relay: RelayUnderTest) -> None:
    """Behind TLS that ends in the relay, every case comes out the same."""
    wrong: list[str] = []
    for case in SECTIONS[section]:
        # An end of TLS is no half of one, and Trio's reads nothing any more once it could not write.
        if not (case.ends_the_stream or case.floods):
            faults = await run_case(case, tls_relay.connect_client, len(DEVICES), whole=True)
            wrong += [f"{case.name}: {fault}" for fault in faults]
    assert not wrong, "\n".join(wrong)
