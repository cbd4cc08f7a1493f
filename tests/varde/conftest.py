"""Every test of the SDK begins with accounts that nobody has seen yet."""

import pytest

from tests.varde.endpoints import forget_accounts


@pytest.fixture(autouse=True)
def fresh_accounts() -> None:
    """See `tests.varde.endpoints.Account`."""
    forget_accounts()
