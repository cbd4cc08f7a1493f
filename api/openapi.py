"""`python -m api.openapi [--check]`: writes `docs/openapi.json` from the routes, or says whether it is up to date."""

import argparse
import sys
from pathlib import Path
from typing import Final

from api.app import create_routes
from api.documentation import Documents
from api.resources.service import DOCUMENTS

FILE: Final = Path(__file__).parent.parent / "docs" / "openapi.json"
COMMAND: Final = "python -m api.openapi"


def openapi_document() -> bytes:
    """Return the document, the same bytes each time."""
    documents: Documents = create_routes().extensions[DOCUMENTS]
    return documents.openapi


def main() -> int:
    """Write the file or, with --check, compare it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write docs/openapi.json from the routes.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is out of date")
    check = parser.parse_args().check
    document = openapi_document()
    if not check:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_bytes(document)
    elif not FILE.exists() or FILE.read_bytes() != document:
        sys.stderr.write(f"{FILE.name} is out of date: run {COMMAND}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
