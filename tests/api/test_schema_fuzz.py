"""The program server held to its own OpenAPI document, with good and bad requests that are made up from it.

Whatever is sent, the answer has a status, a type and a shape that the document promises; good data is not refused as
malformed, bad data is not taken, no lock is open, and nothing is a fault of ours.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, cast

import httpx
import pytest
from hypothesis import HealthCheck, settings

from api.openapi import openapi_document
from tests.api.program import Program, SignedUpDevice, run_program, sign_up
from tests.cast import CastDevice, Person, alice
from tests.postgres import database

pytestmark = pytest.mark.xdist_group("schema-fuzz")  # they share one program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its imports warn of is nothing of ours
    import schemathesis

EXAMPLES = 15
document: dict[str, Any] = json.loads(openapi_document())
schema = schemathesis.openapi.from_dict(document)
schema.config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none")
# A key of random bytes fits the schema and is no point of the curve (422); a made-up token is nobody's (401).
schema.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "401", "403", "404", "409", "422", "429"]
_numbers = count()


@pytest.fixture(scope="module")
def program(postgres_url: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The API over a real Postgres, for all of these tests."""
    with (
        database(postgres_url, migrated_template) as url,
        run_program(tmp_path_factory.mktemp("api"), url) as program,
    ):
        yield program


@pytest.fixture(scope="module")
def client(program: Program) -> Iterator[httpx.Client]:
    """A client of it."""
    with program.client() as client:
        yield client


@pytest.fixture
def device(program: Program, client: httpx.Client) -> SignedUpDevice:
    """Somebody new, with a device, whose session the requests may end."""
    number = next(_numbers)
    person = Person(
        name=alice.name,
        email=f"person{number}@example.org",
        address=alice.address,
        account=alice.account,
        root=alice.root,
        privat=alice.privat,
        jobb=alice.jobb,
        devices=alice.devices,
    )
    device: CastDevice = alice.further_device(f"fuzzed{number}")
    return sign_up(program, client, person, device)


def with_whole_numbers(node: Any) -> Any:
    """Spell 7.0 as 7: JSON Schema calls both an integer, this API only the second."""
    if isinstance(node, dict):
        return {name: with_whole_numbers(value) for name, value in node.items()}
    if isinstance(node, list):
        return [with_whole_numbers(item) for item in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def promise_of(operation_id: str) -> Callable[..., None]:
    """Return the test of one operation."""

    @schema.include(operation_id=operation_id).parametrize()
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def test(case: "schemathesis.Case[Any]", program: Program, device: SignedUpDevice) -> None:
        """Whatever is asked of this operation, the answer is one that the document promises."""
        case.body = with_whole_numbers(case.body)
        case.call_and_validate(base_url=program.address, headers=device.headers)

    return cast("Callable[..., None]", test)


# One function for each: pytest-xdist tells tests apart by their node ids, and those that schemathesis makes of one
# function all have the same, so of thirty it would run one.
for _methods in document["paths"].values():
    for _operation in _methods.values():
        globals()[f"test_{_operation['operationId']}_keeps_to_the_document"] = promise_of(_operation["operationId"])
