"""All tests here on one worker: each of them reads the whole repository, which is parsed once."""

from collections.abc import Iterator

import pytest

from tests.house import tree


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them into one group."""
    for item in items:
        if item.path.parent.name == "house":
            item.add_marker(pytest.mark.xdist_group("house"))


@pytest.fixture(scope="package", autouse=True)
def forget_trees() -> Iterator[None]:
    """Forget millions of objects at the end, which the garbage collector would count in every test that follows."""
    yield
    tree.forget()
