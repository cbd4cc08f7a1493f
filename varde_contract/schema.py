"""The generator of the JSON Schema files: `python -m varde_contract.schema [--check]`."""

import argparse
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, get_args

import msgspec
from msgspec import Struct

from varde_contract import bodies, envelope, frames, membership_statements, refusals, rest
from varde_contract.ids import id_schema
from varde_contract.limits import FRAMES_PER_MESSAGE

FOLDER: Final = Path(__file__).parent.parent / "docs" / "schema"
COMMAND: Final = "python -m varde_contract.schema"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_FORM = (
    "This describes the JSON form: an id is the text of a UUID, bytes are base64 with padding. "
    "On the wire it is msgpack, where an id is 16 raw bytes (bin) and bytes are bin, map keys included. "
    "What is an array here begins with its tag, where it has one, and goes on with its fields in this order, of which "
    "those with a default may be missing at the end. The title of an item is the name of its field."
)
_FRAMES = (
    "The relay protocol varde.v2. `Hello` is the payload of the client's last handshake message; afterwards every "
    f"Noise transport message is a `ClientMessage` or a `ServerMessage`. {_FORM}"
)
_ENVELOPE = (
    f"What is inside a ciphertext, after decryption and once the padding is off: the array `Envelope`. {_FORM} "
    "A receiver lets further items at the end pass and refuses a version that it does not know."
)
_MEMBERSHIP = (
    "What a device signs about who is in a conversation. `SignedStatement` holds the msgpack bytes of a statement: an "
    f"array that begins with its tag. {_FORM} Nothing may be missing at the end, and no other encoding is taken."
)
_REST = (
    "The bodies of the REST API, JSON. An id is the text of a UUID, bytes are base64 with padding, a time is RFC 3339 "
    "in UTC. A request with a field that is not named here is refused; a client lets unknown fields of an answer pass."
)


class Document(NamedTuple):
    """One generated file. `root` is what a value must match; without it the file only holds definitions."""

    name: str
    title: str
    description: str
    structs: tuple[type[Struct], ...]
    root: Schema
    version: str = "v2"


def structs_of(*modules: ModuleType) -> tuple[type[Struct], ...]:
    """Return every public Struct that these modules define and somebody writes, in the order of their names."""
    found = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Struct) and value.__module__ == module.__name__
        if not name.startswith("_") and value is not envelope.UnknownEnvelope
    }
    return tuple(found[name] for name in sorted(found))


def rest_modules() -> tuple[ModuleType, ...]:
    """Return every module of `varde_contract.rest`."""
    return tuple(
        importlib.import_module(f"{rest.__name__}.{each.name}") for each in pkgutil.iter_modules(rest.__path__)
    )


def documents() -> tuple[Document, ...]:
    """Return the files to be generated."""
    messages = [_ref(name) for name in ("Hello", "ClientMessage", "ServerMessage")]
    spoken: tuple[type[Struct], ...] = (*structs_of(frames), refusals.StaleDevices)
    return (
        Document("frames.json", "Frames of the Varde relay", _FRAMES, spoken, {"anyOf": messages}),
        Document("envelope.json", "The Varde envelope", _ENVELOPE, structs_of(bodies, envelope), _ref("Envelope")),
        Document(
            "membership.json",
            "Membership statements",
            _MEMBERSHIP,
            structs_of(membership_statements),
            _ref("SignedStatement"),
        ),
        Document("rest.json", "Bodies of the Varde REST API", _REST, structs_of(*rest_modules()), {}, "v1"),
    )


def render(document: Document) -> str:
    """Return the text of a file: the same for the same Structs, whatever the machine."""
    definitions = _definitions(document.structs)
    if document.name == "frames.json":
        definitions |= _directions()
    whole = {
        "$schema": DIALECT,
        "$id": f"urn:varde:{document.version}:{document.name.removesuffix('.json')}",
        "title": document.title,
        "description": document.description,
        **document.root,
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _definitions(structs: tuple[type[Struct], ...]) -> dict[str, Schema]:
    _, components = msgspec.json.schema_components(structs, schema_hook=id_schema, ref_template="#/$defs/{name}")
    fields = {struct.__name__: struct.__struct_fields__ for struct in structs}
    return {name: _readable(component, fields.get(name, ())) for name, component in components.items()}


def _readable(component: Schema, fields: Iterable[str]) -> Schema:
    """Straighten the docstring, and name the items of an array, which msgspec leaves without their field's name."""
    readable = dict(component)
    if "description" in readable:
        readable["description"] = inspect.cleandoc(readable["description"])
    if "prefixItems" in readable:
        items = readable["prefixItems"]
        names = ("tag", *fields)[-len(items) :]
        readable["prefixItems"] = [{"title": name, **item} for name, item in zip(names, items, strict=True)]
    return readable


def _directions() -> dict[str, Schema]:
    made: dict[str, Schema] = {}
    for side, union in (("Client", frames.ClientFrame), ("Server", frames.ServerFrame)):
        made[f"{side}Frame"] = {
            "title": f"{side}Frame",
            "description": f"One frame from the {side.lower()}.",
            "anyOf": [_ref(frame.__name__) for frame in get_args(union)],
        }
        made[f"{side}Message"] = {
            "title": f"{side}Message",
            "description": f"One transport message from the {side.lower()}.",
            "type": "array",
            "items": _ref(f"{side}Frame"),
            "minItems": 1,
            "maxItems": FRAMES_PER_MESSAGE,
        }
    return made


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def differing(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that are missing or differ from the Structs."""
    wanted = {document.name: render(document) for document in documents()}
    return [name for name, text in wanted.items() if _read(folder / name) != text]


def write(folder: Path) -> None:
    """Write every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for document in documents():
        (folder / document.name).write_text(render(document), encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the files, or with `--check` return 1 and name those that are not what the Structs say."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Generate the JSON Schema files from the Structs.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file differs")
    if not parser.parse_args(arguments).check:
        write(folder)
        return 0
    names = differing(folder)
    for name in names:
        sys.stderr.write(f"docs/schema/{name} is not what the Structs say: run `make schema` ({COMMAND})\n")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
