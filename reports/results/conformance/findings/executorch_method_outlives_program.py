"""ExecuTorch: a method without its ``Program`` reads freed memory, and ends the process.

``Program`` keeps the bytes that it was loaded from; ``Method`` keeps no ``Program``. Right is the
same output as in the line before. Size: the process ends with SIGSEGV, or a call is refused
("Expected 0, but got 1"); calls before that are right by luck. Seen with executorch 1.5.1;
similar: pytorch/executorch#10725, of the older interface. A process for each case.
"""

import gc
import subprocess
import sys

import numpy as np


def main(keep):
    import torch
    from executorch.exir import to_edge
    from executorch.runtime import Runtime
    from executorch.version import __version__

    torch.manual_seed(0)
    layer = torch.nn.GRU(3, 4).eval()
    x, h = torch.ones(1, 2, 3), torch.zeros(1, 2, 4)
    made = to_edge(torch.export.export(layer, (x, h))).to_executorch()
    program = Runtime.get().load_program(made.buffer)
    method = program.load_method("forward")
    if not keep:
        del made, program
        gc.collect()
    for _ in range(1000):
        y, h = method.execute([x, h])
    numbers = np.round(y.numpy()[0, 0], 6).tolist()
    print(f"executorch {__version__}: after 1000 calls h = {numbers}")


if len(sys.argv) > 1:
    main(sys.argv[1] == "kept")
else:
    for what in ("kept", "dropped"):
        command = [sys.executable, __file__, what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = (done.stdout or done.stderr).strip().splitlines()[-1:]
        print(f"program {what}: exit code {done.returncode}: {''.join(said)}")
