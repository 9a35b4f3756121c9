"""Paddle: RNN layers without biases are built, and end the process when they are called.

A process for each combination. Seen with paddlepaddle 3.3.1; reported: PaddlePaddle/Paddle#70231.
"""

import subprocess
import sys

for kind in ("SimpleRNN", "LSTM", "GRU"):
    for given in ("bias_ih_attr=False, bias_hh_attr=False", "bias_ih_attr=False"):
        program = (
            f"import paddle\nlayer = paddle.nn.{kind}(3, 4, {given})\n"
            f"y, _ = layer(paddle.randn([2, 5, 3]))\nprint(paddle.__version__, y.shape)\n"
        )
        command = [sys.executable, "-W", "ignore", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]
        print(f"{kind}(3, 4, {given}): exit code {done.returncode}: {''.join(said[-1:])}")
