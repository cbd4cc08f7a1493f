"""What the audit log keeps of the environment: who became root, and a digest of what a program was told."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NO_SECRETS: Final = re.compile(r"VARDE_(?!\w*(URL|DSN|PASS|SECRET|TOKEN|CALLED_AS|DEBUG))\w+")
"""Variables of whose values a digest may be kept: of none with a password in it, for a digest can be tried against a
list."""
_DIGEST_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Of one start of a program, or of one command."""

    sudo_user: str | None = None
    """Who became root to do it; None: nobody did."""
    relay_name: str = "relay"
    digest: str = ""
    """Enough to see when the settings changed, and to compare two."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "AuditSettings":
        """Read `SUDO_USER` (sudo(8)), `VARDE_RELAY_NAME`, and what `NO_SECRETS` lets through."""
        told = sorted(f"{name}={value}" for name, value in environ.items() if NO_SECRETS.fullmatch(name))
        return cls(
            sudo_user=environ.get("SUDO_USER") or None,
            relay_name=environ.get("VARDE_RELAY_NAME", "relay"),
            digest=hashlib.sha256("\n".join(told).encode()).hexdigest()[:_DIGEST_DIGITS],
        )
