"""`python -m loadtest.report.schema [--check]`: the JSON Schema of `result.json`, from the classes of a result."""

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtest.report.result import Result

FILE: Final = Path(__file__).parents[2] / "docs" / "schema" / "load-result.json"
COMMAND: Final = "python -m loadtest.report.schema"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DESCRIPTION: Final = (
    "What `python -m loadtest run` writes as `result.json`. Latencies are milliseconds, `hdr` holds microseconds, "
    "percent are of one core, times are seconds since the run began unless they say otherwise. A reader lets unknown "
    "fields pass and refuses a `schema` that it does not know."
)


def render() -> str:
    """Return the text of the file: the same for the same classes, whatever the machine."""
    (root,), components = msgspec.json.schema_components((Result,), ref_template="#/$defs/{name}")
    whole = {
        "$schema": DIALECT,
        "$id": "urn:varde:v1:load-result",
        "title": "The result of a run of Varde's load suite",
        "description": DESCRIPTION,
        **root,
        "$defs": {name: _readable(components[name]) for name in sorted(components)},
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _readable(component: dict[str, Any]) -> dict[str, Any]:
    said = component.get("description")
    return component if said is None else {**component, "description": inspect.cleandoc(said)}


def main(arguments: list[str] | None = None, file: Path = FILE) -> int:
    """Write the file, or with `--check` return 1 when it is not what the classes say."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Generate the JSON Schema of result.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file differs")
    if not parser.parse_args(arguments).check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(), encoding="utf-8")
        return 0
    if file.exists() and file.read_text(encoding="utf-8") == render():
        return 0
    sys.stderr.write(f"docs/schema/{file.name} is not what the classes say: run `make schema` ({COMMAND})\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
