"""``python -m gatewise`` is the command."""

from .cli import main

main()
