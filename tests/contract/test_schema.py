"""The schema files are the Structs, in the words of JSON Schema 2020-12, and nothing is forgotten."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.contract import examples as x
from tests.contract.strategies import structs
from varde_contract import codec, envelope, frames
from varde_contract import schema as generated

RENDERED: dict[str, Any] = {each.name: json.loads(generated.render(each)) for each in generated.documents()}
CASES = [
    (document.name, kind) for document in generated.documents() for kind in document.structs if kind is not frames.Hello
]


def validator(name: str, part: str = "") -> Any:
    """A validator for a whole file, or for one of its definitions."""
    schema = RENDERED[name] if not part else {"$ref": f"#/$defs/{part}", "$defs": RENDERED[name]["$defs"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


JUDGES = {(name, kind.__name__): validator(name, kind.__name__) for name, kind in CASES}


def in_json(said: object) -> Any:
    """What is said, as a reader of JSON sees it."""
    return json.loads(msgspec.json.encode(said))


def test_the_files_are_what_the_structs_say() -> None:
    """Nobody can change a Struct without its schema: run `make schema`."""
    assert generated.differing(generated.FOLDER) == []


@pytest.mark.parametrize("name", RENDERED)
def test_every_file_is_a_schema(name: str) -> None:
    """The files are valid JSON Schema 2020-12."""
    assert RENDERED[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema_rs.meta.validate(RENDERED[name])


@pytest.mark.parametrize(("name", "kind"), CASES, ids=lambda case: case if isinstance(case, str) else case.__name__)
@settings(max_examples=20)  # the types themselves have their edges tested elsewhere; here it is their translation
@given(st.data())
def test_whatever_a_struct_can_be_is_valid(name: str, kind: type[Struct], drawn: st.DataObject) -> None:
    """The schema of every Struct takes every value of the Struct."""
    JUDGES[name, kind.__name__].validate(in_json(drawn.draw(structs(kind))))


@pytest.mark.parametrize("side", ["Client", "Server"])
def test_messages_of_either_side_are_told_apart(side: str) -> None:
    """The schema of one side takes all of its examples in one message, and no frame that only the other has."""
    own, other = (x.CLIENT, x.SERVER) if side == "Client" else (x.SERVER, x.CLIENT)
    judge = validator("frames.json", f"{side}Message")
    judge.validate(in_json(own))
    foreign = [frame for frame in other if frames.tag_of(frame) not in {frames.tag_of(each) for each in own}]
    assert foreign
    assert not [frame for frame in foreign if judge.is_valid(in_json([frame]))]


def test_hello_and_messages_are_the_whole_of_it() -> None:
    """The file as a whole takes a Hello and a message, and neither a bare frame nor nothing."""
    judge = validator("frames.json")
    for good in (x.HELLO, x.CLIENT, x.SERVER):
        judge.validate(in_json(good))
    assert not [bad for bad in (x.CLIENT[0], (), None) if judge.is_valid(in_json(bad))]


def test_the_items_of_a_frame_carry_their_fields_names() -> None:
    """Whoever generates a client from the file gets names, although the wire has none."""
    items = RENDERED["frames.json"]["$defs"]["Sync"]["prefixItems"]
    assert [item["title"] for item in items] == ["tag", *frames.Sync.__struct_fields__]
    assert RENDERED["frames.json"]["$defs"]["Sync"]["minItems"] == 3


def test_no_struct_is_forgotten() -> None:
    """Every Struct of frames, envelope and REST has its definition."""
    found = {name for each in RENDERED.values() for name in each["$defs"]}
    wanted = generated.structs_of(frames, envelope, *generated.rest_modules())
    assert {kind.__name__ for kind in wanted} <= found


def test_every_rest_module_is_walked() -> None:
    """A new file under contract/rest needs to be named nowhere."""
    there = {path.stem for path in (Path(generated.__file__).parent / "rest").glob("*.py")} - {"__init__"}
    assert {module.__name__.rpartition(".")[2] for module in generated.rest_modules()} == there


def test_the_description_says_what_travels_instead_of_json() -> None:
    """A reader of the file learns that ids are 16 bytes on the wire, which is true."""
    assert "16 raw bytes" in RENDERED["frames.json"]["description"]
    assert b"\xc4\x10" + x.CONVERSATION.bytes in codec.encode_frame(x.CLIENT[1])


def test_check_names_the_file_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` fails for a file that differs or is missing, changes nothing, and says what to run."""
    assert generated.main([], tmp_path) == 0
    assert generated.main(["--check"], tmp_path) == 0
    (tmp_path / "rest.json").write_text("{}", encoding="utf-8")
    (tmp_path / "envelope.json").unlink()
    capsys.readouterr()
    assert generated.main(["--check"], tmp_path) == 1
    said = capsys.readouterr().err
    assert [line.split()[0] for line in said.splitlines()] == ["docs/schema/envelope.json", "docs/schema/rest.json"]
    assert said.count("make schema") == 2
    assert (tmp_path / "rest.json").read_text(encoding="utf-8") == "{}"
