"""The page and the schema of the JSON-RPC interface, made from its table.

`python -m tests.daemon_documentation [--check]`
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from varde_cli.rpc.methods import METHODS
from varde_contract.ids import id_schema

_DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = _DOCS / "daemon-methods.md"
SCHEMA: Final = _DOCS / "schema" / "daemon.json"
_HEAD: Final = """# Methods of `varde daemon`

Written by `python -m tests.daemon_documentation`. [How to use them](daemon.md).
Every field is in [schema/daemon.json](schema/daemon.json).

| method | does | params | result |
|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    rows = [
        f"| `{each.name}` | {' '.join(each.about.split())} | {_params(each.params)} | {_type(each.returns)} |\n"
        for _, each in sorted(METHODS.items())
    ]
    return _HEAD + "".join(rows)


def _params(kind: type[msgspec.Struct]) -> str:
    return (
        ", ".join(f"`{field.encode_name}`{'' if field.required else '?'}" for field in msgspec.structs.fields(kind))
        or "none"
    )


def _type(kind: Any) -> str:
    if kind is type(None):
        return "nothing"
    name = getattr(kind, "__name__", None) if not hasattr(kind, "__args__") else str(kind)
    shown = str(name).replace("varde_cli.rpc.methods.", "").replace("varde.events.", "").replace("varde.search.", "")
    shown = shown.replace("varde_contract.ids.", "").replace("varde.outbox.", "")
    return f"`{shown}`"


def schema() -> str:
    """Return the JSON Schema of everything that is taken and returned, for programs that make programs."""
    kinds = [kind for each in METHODS.values() for kind in (each.params, each.returns)]
    _, schemas = msgspec.json.schema_components(kinds, schema_hook=id_schema, ref_template="#/$defs/{name}")
    return json.dumps({"$defs": schemas}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    made = {PAGE: render(), SCHEMA: schema()}
    if sys.argv[1:] == ["--check"]:
        old = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
        sys.exit(f"not as the methods are: {', '.join(old)}; run python -m tests.daemon_documentation" if old else 0)
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
