"""The process in which a subject runs, and nothing of the judge's: it answers questions.

``python -m gatewise.verify.execution.host MEMORY [HIDDEN ...]``: questions come on standard input,
answers go to what was standard output (see ``channel``); what the subject prints goes to standard
error. Before anything but this is imported, the process goes into a sandbox.
"""

from __future__ import annotations

import os
import sys

from .sandbox import IMPORTS, enter, limit_files, limit_memory

DEVICES = "/dev/nvidia0"
"""Where drivers reserve far more addresses than they use, no limit of addresses can hold."""


def main() -> None:
    """Answer until there are no more questions."""
    memory, hidden = int(sys.argv[1]), sys.argv[2:]
    in_force = enter(hidden)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    from .respondent import Respondent  # not before the sandbox, which wants one thread

    memory = 0 if os.path.exists(DEVICES) else memory
    limit_memory(memory, more=IMPORTS)
    limit_files()
    Respondent(questions, answers, memory, in_force).serve()


if __name__ == "__main__":
    main()
