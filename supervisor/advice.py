"""What a person can do about a program that does not start, from what the program itself said.

It guesses from known words and never hides them: the program's own lines are shown beside the advice.
"""

import re
from typing import Final

from supervisor.keeper import StartFailed

_SHOWN_LINES: Final = 8

_ADVICE: Final = {
    "address already in use|address in use|EADDRINUSE|Errno 98|Errno 48": """
        Another program listens there. Stop it, or choose another address:
        `varde up --api-bind 127.0.0.1:0 --relay-bind 127.0.0.1:0` takes free ports.""",
    "cannot assign requested address|Errno 99": """
        That host is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them.""",
    "connection refused|connect call failed|could not translate host|name or service not known": """
        Check VARDE_DATABASE_URL, and that its server runs; without the variable, Varde runs a Postgres of its own.""",
    "no space left": "The disk is full: make room, or choose another folder with --data.",
    "lock file .* already exists": "Another Postgres works on this folder: stop it.",
    "permission denied": "This user may not: check who owns the data folder, or choose another one with --data.",
    "was made by PostgreSQL": "Choose another folder with --data, or run pg_upgrade on this one.",
    "No module named": "A part is not installed: run `make up` once, which installs what is needed.",
}


def explain(failure: StartFailed) -> str:
    """Return what failed, what it said, and what to do, on several lines."""
    said = [line for line in failure.said if line.strip()][-_SHOWN_LINES:]
    parts = [f"{failure}."]
    if said:
        parts += ["It said:", *(f"    {line}" for line in said)]
    parts.append(_advise("\n".join(said)))
    return "\n".join(parts)


def _advise(said: str) -> str:
    for pattern, advice in _ADVICE.items():
        if re.search(pattern, said, re.IGNORECASE):
            return " ".join(advice.split())
    return "If these words do not help, run it alone and look closer: `varde relay`, `varde api`, `varde migrate`."
