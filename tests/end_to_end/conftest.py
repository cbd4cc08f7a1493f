"""The system for every test of this folder. Refuses anything else."""

from tests.end_to_end.stack import stack

__all__ = ["stack"]
