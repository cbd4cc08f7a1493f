"""What the audit log keeps of the environment: nothing that a password could be guessed from."""

import pytest

from settings.audit import AuditSettings


@pytest.mark.parametrize(
    "name", ["VARDE_DATABASE_URL", "VARDE_REPLICA_URL", "VARDE_BUS_URL", "VARDE_SMTP_URL", "VARDE_PASSPHRASE", "HOME"]
)
def test_a_secret_changes_no_digest(name: str) -> None:
    """Otherwise whoever reads the log could try a list of passwords against it."""
    told = {"VARDE_DATA": "/srv/varde"}
    assert AuditSettings.from_environ(told | {name: "tops3cret"}) == AuditSettings.from_environ(told)


def test_another_setting_changes_the_digest() -> None:
    """That is what it is for."""
    digests = {AuditSettings.from_environ({"VARDE_RELAY_CONNECTIONS": each}).digest for each in ("1", "2")}
    assert len(digests) == 2
