"""Where everything is, as JSON in a file for tests and scripts: written when all is ready, and again at every restart.

It holds addresses and process numbers, never a database URL: that may hold a password.
"""

import json
import os
from pathlib import Path

from supervisor.house import House


def write_ready_file(path: Path, house: House) -> None:
    """Write the file whole: who reads it sees the old one or the new one. Raises OSError."""
    content = {
        "api": house.api_url,
        "relay": house.relay_url,
        "data": str(house.data),
        "pids": {"varde": os.getpid(), **{kept.program.name: kept.pid for kept in house.programs}},
        "starts": {kept.program.name: kept.starts for kept in house.programs},
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)
