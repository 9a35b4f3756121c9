"""Paddle: RNN layers on input of no steps end the process.

LSTM and GRU divide by zero, SimpleRNN reads where it may not. A process for each.
Seen with paddlepaddle 3.3.1; no report known.
"""

import subprocess
import sys

for kind in ("SimpleRNN", "LSTM", "GRU"):
    program = (
        f"import paddle\ny, _ = paddle.nn.{kind}(3, 4)(paddle.zeros([2, 0, 3]))\n"
        f"print(paddle.__version__, y.shape)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]
    print(f"{kind}, no steps: exit code {done.returncode}: {''.join(said[-1:])}")
