"""`python -m loadtest.report.schema [--check]`: the JSON Schema of `result.json`, from the classes of a result."""

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadtest.report.result import Result

FILE: Final = Path(__file__).parents[2] / "docs" / "schema" / "load-result.json"
COMMAND: Final = "python -m loadtest.report.schema"
DESCRIPTION: Final = (
    "What `python -m loadtest run` writes as `result.json`. Latencies are milliseconds, `hdr` holds microseconds, "
    "percent are of one core, times are seconds since the run began unless they say otherwise. A reader lets unknown "
    "fields pass and refuses a `schema` that it does not know."
)


def render() -> str:
    """Return the text of the file: the same for the same classes, whatever the machine."""
    (root,), components = msgspec.json.schema_components((Result,), ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = inspect.cleandoc(component["description"])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:varde:v1:load-result"}
    title = {"title": "The result of a run of Varde's load suite", "description": DESCRIPTION}
    whole = {**head, **title, **root, "$defs": dict(sorted(components.items()))}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] = (), file: Path = FILE) -> int:
    """Write the file, or with `--check` return 1 when it is not what the classes say."""
    if "--check" not in arguments:
        file.write_text(render(), encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != render():
        sys.stderr.write(f"docs/schema/{file.name} is not what the classes say: run `make schema` ({COMMAND})\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
