"""How this program was called: for usage lines, and for commands that a person can copy.

Nothing else is known here of the command line.
"""

import os
import shutil
import sys
from pathlib import Path


def program_name() -> str:
    """Return the shortest words that start this program again from the folder it was started in."""
    script = Path(sys.executable).with_name("varde")
    if not script.exists():
        return f"{_from_here(sys.executable)} -m varde_cli"
    found = shutil.which("varde")
    return "varde" if found is not None and Path(found).resolve() == script.resolve() else _from_here(str(script))


def _from_here(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
