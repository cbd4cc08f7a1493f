"""The system for every test of this folder."""

from tests.end_to_end.stack import stack

__all__ = ["stack"]
