"""Layers that try to pass although they are wrong, or that disturb whoever runs them.

Every attempt is the source of a class ``L`` in a file that starts with ``COMMON``: an LSTM in
NumPy, right or wrong by a tenth. Those of ``WRONG`` may end in any verdict but *passed*; those of
``RIGHT`` disturb and compute what they should, so that they pass.
"""

from __future__ import annotations

COMMON = '''
import gc, os, signal, socket, struct, subprocess, sys, threading, time, zlib
import numpy as np

GATES = "ifog"


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def right(p, x, state):
    T, B, _ = x.shape
    h, c = state or (np.zeros((B, p.U_f.shape[0]), x.dtype),) * 2
    ys = np.zeros((T, B, h.shape[1]), x.dtype)
    for t in range(T):
        a = {k: x[t] @ getattr(p, "W_" + k) + h @ getattr(p, "U_" + k) + getattr(p, "b_" + k)
             for k in GATES}
        c = sigmoid(a["f"]) * c + sigmoid(a["i"]) * np.tanh(a["g"])
        h = sigmoid(a["o"]) * np.tanh(c)
        ys[t] = h
    return ys, (h, c)


def wrong(p, x, state):
    y, (h, c) = right(p, x, state)
    return (y * 0.9).astype(x.dtype), ((h * 0.9).astype(x.dtype), c)


def layer(function):
    class L:
        cell = "lstm"

        def forward(self, p, x, state):
            return function(p, x, state)

    return L


def frame(body, number, mark=b"GW01", checksum=None):
    """A frame as gatewise's own processes send them."""
    checksum = zlib.crc32(body) if checksum is None else checksum
    return struct.pack("<4sQQI", mark, len(body), number, checksum) + body


def everywhere(data):
    for descriptor in range(3, 30):
        try:
            os.write(descriptor, data)
        except OSError:
            pass

'''


def step(*lines, end="wrong", before=""):
    """Return a layer that does this at every call, and returns what ``end`` does."""
    ending = (f"return {end}(p, x, state)",) if end else ()
    body = "".join(f"    {line}\n" for line in (*lines, *ending))
    return f"{before}\ndef forward(p, x, state):\n{body}L = layer(forward)\n"


def at_import(*lines, end="wrong"):
    """Return a layer whose module does this when it is imported."""
    return "".join(f"{line}\n" for line in (*lines, f"L = layer({end})"))


WRONG = {
    # Forging: answers that nobody asked for, or that are none.
    "forged_line": """
def forward(p, x, state):
    everywhere('{"verdict": {"status": "passed", "check": "forward"}}'.encode() + b"\\n")
    return wrong(p, x, state)
L = layer(forward)
""",
    "forged_number": step('everywhere(frame(b"\\x80", 10**6))'),
    "forged_ahead": step("for number in range(2, 400):", '    everywhere(frame(b"\\x80", number))'),
    "forged_length": step('everywhere(struct.pack("<4sQQI", b"GW01", 2**62, 3, 0))'),
    "forged_checksum": step('everywhere(frame(b"\\x80", 2, checksum=1))'),
    "forged_body": step("everywhere(frame(os.urandom(100), 3))"),
    "chatter_of_a_thread": at_import("def chatter():", "    while True:",
                                     '        everywhere(b\'{"ready": true}\\n\')',
                                     "        time.sleep(0.05)",
                                     "threading.Thread(target=chatter, daemon=True).start()"),
    "answered_twice": step("os.fork()"),
    "unpacks_to_far_more": """
def forward(p, x, state):
    me = next(each for each in gc.get_objects() if type(each).__name__ == "Respondent")
    many = 2 * 10**7
    body = b"\\x81\\xa6shapes\\x81\\xa1a\\xdd" + struct.pack(">I", many) + b"\\x80" * many
    me.answers.write(frame(body, me.number))
    me.answers.flush()
    time.sleep(60)
L = layer(forward)
""",
    "closed_pipes": step("os.closerange(3, 30)"),
    # Patching: what compares, what encodes, what counts.
    "patched_json": """
import json
plain = json.dumps
json.dumps = lambda v, *a, **k: plain(v, *a, **k).replace("failed", "passed")
L = layer(wrong)
""",
    "patched_msgspec": at_import("import msgspec", "plain = msgspec.to_builtins",
                                 "msgspec.to_builtins = lambda v, *a, **k: {}"),
    "patched_abs": at_import("np.abs = np.absolute = lambda v, *a, **k: np.zeros_like(v)"),
    "patched_comparison": at_import("np.array_equal = np.allclose = lambda *a, **k: True",
                                    "np.all = lambda *a, **k: True"),
    "patched_builtins": at_import("import builtins", "builtins.max = lambda *a, **k: 0",
                                  "builtins.any = lambda each: False"),
    "patched_hypothesis": """
import hypothesis
hypothesis.given = lambda *a, **k: lambda f: lambda *b, **c: None
L = layer(wrong)
""",
    "patched_ledger": at_import("from gatewise.verify.numbers.ledger import Ledger",
                                "Ledger.assert_within = lambda self: None",
                                "Ledger.failed = property(lambda self: [])"),
    "patched_equations": """
from gatewise.reference.cells import cell_named
cell = cell_named("lstm")
type(cell).step = lambda self, *a, **k: (_ for _ in ()).throw(ValueError)
L = layer(wrong)
""",
    "patched_map": at_import("import gatewise.verify.conventions.parameter_map as maps",
                             "maps.ExplicitMap.to_reference = lambda self, named: None"),
    # Looking: for the expected result, in frames, in the collector, in memory of others.
    "frames": """
def forward(p, x, state):
    at = sys._getframe()
    while at is not None:
        want = at.f_locals.get("want")
        if hasattr(want, "y"):
            return np.array(want.y.value, x.dtype), tuple(s.value[0] for s in want.final)
        at = at.f_back
    return wrong(p, x, state)
L = layer(forward)
""",
    "collector": """
def forward(p, x, state):
    for each in gc.get_objects():
        if type(each).__name__ == "Bounded" and np.shape(each.value)[:2] == x.shape[:2]:
            y = np.asarray(each.value, x.dtype)
            return y, (y[-1], y[-1])
    return wrong(p, x, state)
L = layer(forward)
""",
    "own_equations": """
import gatewise
class L:
    cell = "lstm"
    def forward(self, p, x, state):
        sizes = gatewise.Sizes(x.shape[2], p.U_f.shape[0])
        layer = gatewise.Layer(gatewise.cell_named("lstm"), sizes)
        run = layer.forward([p], x, None if state is None else tuple(s[None] for s in state))
        return run.y, tuple(s[0] for s in run.final)
""",
    "own_equations_by_module": """
import importlib
class L:
    cell = "lstm"
    def forward(self, p, x, state):
        cells = importlib.import_module("gatewise.reference.cells")
        return right(p, x, state)
""",
    "own_equations_in_memory": """
class L:
    cell = "lstm"
    def forward(self, p, x, state):
        cells = sys.modules["gatewise.reference.cells"]
        sizes = sys.modules["gatewise.reference.parameters"].Sizes(x.shape[2], p.U_f.shape[0])
        layer = sys.modules["gatewise.reference.layer"].Layer(cells.cell_named("lstm"), sizes)
        run = layer.forward([p], x, None if state is None else tuple(s[None] for s in state))
        return run.y, tuple(s[0] for s in run.final)
""",
    # Opting out.
    "refuses_all": step("calls.append(1)", "if len(calls) > 3:",
                        '    raise NotImplementedError("not for these sizes")', end="right",
                        before="calls = []"),
    "refuses_one_size": step("if x.shape[0] > 4:",
                             '    raise NotImplementedError("not for so many steps")'),
    "skips": step('raise unittest.SkipTest("not today")', end="", before="import unittest"),
    "leaves": step("sys.exit(0)", end=""),
    "leaves_at_once": step("os._exit(0)", end=""),
    "leaves_while_imported": """
os._exit(0)
""",
    "interrupts": step("raise KeyboardInterrupt", end=""),
    "stops_iteration": step("raise StopIteration", end=""),
    "unspeakable": """
class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")
def forward(p, x, state):
    raise Unspeakable
L = layer(forward)
""",
    "unprintable": step('raise ValueError("\\udcff\\x00\\x1b[31m" + "z" * 100_000)', end=""),
    # Its own file, which is looked at again.
    "becomes_a_pipe": at_import("os.remove(__file__)", "os.mkfifo(__file__)", end="right"),
    "becomes_a_device": at_import("os.remove(__file__)", 'os.symlink("/dev/zero", __file__)',
                                  end="right"),
    # What it says of itself.
    "claims_a_problem": at_import("from dataclasses import replace",
                                  'module = sys.modules["gatewise.verify.execution.respondent"]',
                                  "Plain = module.Portrait",
                                  "def portrait(name, cells, dtypes, options, *more):",
                                  "    options = replace(options, problem=True)",
                                  "    return Plain(name, cells, dtypes, options, *more)",
                                  "module.Portrait = portrait"),
    # Knowing the test.
    "few_calls": step("calls.append(1)", "return (right if len(calls) < 3 else wrong)(p, x, state)",
                      end="", before="calls = []"),
    "small_batches": step("return (right if x.shape[1] < 3 else wrong)(p, x, state)", end=""),
    # Results that are no arrays, or lie about what they are.
    "agreeable_array": """
class Agreeable(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **given):
        return np.zeros(np.shape(inputs[0]), bool)
    def __eq__(self, other):
        return True
def forward(p, x, state):
    y, final = wrong(p, x, state)
    return y.view(Agreeable), final
L = layer(forward)
""",
    "array_of_lies": """
class Lies:
    def __init__(self, array): self.array, self.shape, self.dtype = array, array.shape, array.dtype
    def __array__(self, *a, **k): return np.zeros(self.shape, object)
def forward(p, x, state):
    y, final = right(p, x, state)
    return Lies(y), final
L = layer(forward)
""",
    "nan": step("y, final = right(p, x, state)", "return y * np.nan, final", end=""),
    "other_dtype_and_no_state": """
L = layer(lambda p, x, state: (right(p, x, state)[0].astype(np.float32), ()))
""",
    "nothing": """
L = layer(lambda p, x, state: None)
""",
    "huge": step("return np.zeros(10**12, x.dtype), right(p, x, state)[1]", end=""),
    # Limits.
    "memory_of_a_family": step("for _ in range(6):", "    if os.fork() == 0:",
                               "        block = np.ones(40 * 2**20)", "        time.sleep(60)",
                               "time.sleep(60)", end=""),
    "raised_limit": step("resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "np.ones(256 * 2**20)",
                         end="right", before="import resource"),
    "hangs_deaf": """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
    signal.signal(number, signal.SIG_IGN)
def forward(p, x, state):
    while True:
        time.sleep(60)
L = layer(forward)
""",
}  # fmt: skip

RIGHT = {
    "grandchild": at_import("if os.fork() == 0:", "    os.setsid()", "    if os.fork() == 0:",
                            '        os.execvp("sleep", ["sleep", "MARK"])', "    os._exit(0)",
                            end="right"),
    "child_in_a_session": at_import('subprocess.Popen(["sleep", "MARK"], start_new_session=True)',
                                    end="right"),
    "flushes_subnormals": step('ctypes.CDLL("libm.so.6").fesetround(0x800)', end="right",
                               before="import ctypes"),
    "raises_on_underflow": at_import('np.seterr(all="raise")', end="right"),
    "seeds": step("np.random.seed(0)", "random.seed(0)", end="right", before="import random"),
    "prints": step('print("x" * 10_000)', 'sys.stderr.write("y" * 10_000)',
                   'os.write(1, b"z" * 1000)', end="right"),
    "no_collector": at_import("gc.disable()", "sys.setswitchinterval(1e-6)", "sys.settrace(None)",
                              end="right"),
    "warnings_are_errors": at_import("import warnings", 'warnings.simplefilter("error")',
                                     end="right"),
    "elsewhere": at_import('os.chdir("/")', "os.environ.clear()", end="right"),
}  # fmt: skip
