"""The process in which a subject runs, apart from the judge: it answers questions.

``python -m gatewise.verify.execution.host MEMORY [HIDDEN ...]`` reads questions from standard
input, and writes answers to the original standard output (see ``channel``); the subject's prints go
to standard error. The process enters a sandbox before it imports anything else.
"""

from __future__ import annotations

import os
import sys

from .sandbox import IMPORTS, enter, limit_files, limit_memory

DEVICES = "/dev/nvidia0"
"""A device whose driver reserves far more addresses than it uses, so that they are not limited."""


def main() -> None:
    """Answer until there are no more questions."""
    memory, hidden = int(sys.argv[1]), sys.argv[2:]
    in_force = enter(hidden)
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    from .respondent import Respondent  # after entering the sandbox, which needs one thread

    memory = 0 if os.path.exists(DEVICES) else memory
    limit_memory(memory, more=IMPORTS)
    limit_files()
    Respondent(questions, answers, memory, in_force).serve()


if __name__ == "__main__":
    main()
