"""Where the public test vectors lie: beside the repository, or where VARDE_VECTORS says."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "vectors"


def find_vectors(*parts: str) -> Path:
    """The file or folder of that name among the vectors; skips the calling test, with the reason, when it is absent."""
    path = Path(os.environ.get("VARDE_VECTORS", _BESIDE_THE_REPOSITORY)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the public vectors {'/'.join(parts)} are absent; VARDE_VECTORS names their folder")
    return path
