"""The one error that users of the reference meet."""

from __future__ import annotations


class InputError(ValueError):
    """An argument that the reference cannot take; the message names it."""

    def __init__(self, argument: str, expected: str, got: object) -> None:
        """Word the message as ``argument: expected ..., got ...``."""
        self.argument, self.expected, self.got = argument, expected, got
        super().__init__(f"{argument}: expected {expected}, got {got}")
