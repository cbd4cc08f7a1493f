"""The system that the examples talk to: the one of the end-to-end tests."""

from tests.end_to_end.stack import stack

__all__ = ["stack"]
