"""``python -m gatewise``: the same as the command."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder it is called in: layers can write modules there

    from .cli import main

    main(prog_name="gatewise")
