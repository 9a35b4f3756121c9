"""Processes that have imported PyTorch and gatewise when they start: forks of one server.

What a process of a subject does is mostly to import, and a test of what is said of a layer needs
that once. Tests of the processes themselves, in ``verify/execution``, start fresh ones.
"""

import contextlib
import functools
import gc
import importlib
import json
import os
import random
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
import types
import weakref

FORKS = sys.platform == "linux"
"""Elsewhere libraries that have been imported may not outlive a fork; there processes are fresh."""

WORKER = "gatewise.verify.execution.worker"
HOST = "gatewise.verify.execution.host"
STARTING = "gatewise.verify.execution.processes.subprocess"
"""What starts processes of subjects."""

SELDOM = 50_000
"""So many objects more, and the collector looks for cycles: the default, 700, takes a tenth."""

MODULES = (
    "gatewise.verify.execution.respondent",
    "gatewise.verify.execution.convention_tasks",
    "gatewise.verify.execution.diagnosis_tasks",
    WORKER,
)


class Server:
    """Forks for each process that is asked of it; it starts with the first."""

    process = None

    @functools.cached_property
    def requests(self):
        """What jobs are written to."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self.process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(its.fileno())],
                pass_fds=[its.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )  # fmt: skip
        return ours

    @property
    def double(self):
        """What stands in the place of ``subprocess`` where processes of subjects are started."""
        return types.SimpleNamespace(**{**vars(subprocess), "Popen": self.start})

    def start(self, command, *, env=None, cwd=".", anew=False, fresh=False, text=False, **streams):
        """Run what follows ``python``, as ``subprocess.Popen`` does in a session of its own.

        ``anew``: gatewise is not imported yet; ``fresh``: what it starts are no forks.
        """
        streams = {name: streams.get(name) for name in ("stdin", "stdout", "stderr")}
        return Process(self.requests, command, streams, env, cwd, anew, fresh or anew, text)

    def run(self, *arguments, **how):
        """Run Python with these arguments, as ``subprocess.run`` does; keep all that it says."""
        if not FORKS:
            command = [sys.executable, *arguments]
            how = {name: given for name, given in how.items() if name not in ("anew", "fresh")}
            return subprocess.run(command, capture_output=True, text=True, check=False, **how)
        with tempfile.TemporaryFile("w+") as errors:
            process = self.start([sys.executable, *arguments], stderr=errors, text=True, **how)
            process.stdin.close()
            with process.stdout as output:
                said = output.read()
            code = process.wait()
            errors.seek(0)
            return subprocess.CompletedProcess(arguments, code, said, errors.read())

    def close(self):
        """End it, and every fork that is left.

        A fork is no child of the process that asked for it: if that is ended while it ends the
        fork, which it stops first, the fork stays so.
        """
        if self.process is not None:
            self.requests.close()
            # Imported here, since the tests' hook for shapes has to be there before gatewise.
            from gatewise.verify.execution.processes import end_family

            end_family(self.process.pid)
            self.process.wait()


class Process:
    """What a ``subprocess.Popen`` offers to those who talk to it."""

    def __init__(self, requests, command, streams, env, cwd, anew, fresh, text):
        (stdin, write), (read, stdout), (status, end) = os.pipe(), os.pipe(), os.pipe()
        env = dict(os.environ if env is None else env)
        job = [command[1:], env, os.path.abspath(cwd), anew, fresh]
        out = stdout if streams["stdout"] in (None, subprocess.PIPE) else streams["stdout"].fileno()
        errors = out if streams["stderr"] == subprocess.STDOUT else streams["stderr"].fileno()
        descriptors = [stdin, out, errors, end, requests.fileno()]
        socket.send_fds(requests, [json.dumps(job).encode()], descriptors)
        for descriptor in (stdin, stdout, end):
            os.close(descriptor)
        how = ("", "utf-8") if text else ("b", None)
        self.stdin = os.fdopen(write, f"w{how[0]}", encoding=how[1])
        self.stdout = os.fdopen(read, f"r{how[0]}", encoding=how[1])
        if streams["stdin"] == subprocess.DEVNULL:
            self.stdin.close()
        if out != stdout:
            self.stdout.close()
        self.status, self.returncode = os.fdopen(status, "rb", 0), None
        self.pid = int(self.status.readline())
        self.lock = threading.Lock()
        weakref.finalize(self, self.status.close)  # several threads may wait for its end

    def wait(self, timeout=None):
        """Return the exit code; that of a signal is negative."""
        if timeout is not None and not select.select([self.status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("python", timeout)
        with self.lock:
            if self.returncode is None:
                self.returncode = int(self.status.readline())
        return self.returncode


def serve(requests):
    """Fork for each job, and return it in the fork; say of each fork how it ended."""
    running, asked = {}, True
    while asked or running:
        ready, _, _ = select.select([*running, *([requests] if asked else [])], [], [])
        for each in ready:
            if each is not requests:
                end(each, *running.pop(each))
                continue
            job, descriptors, *_ = socket.recv_fds(requests, 1 << 20, 5)
            asked = bool(job)
            if not job:
                continue
            *streams, status, client = descriptors
            process = os.fork()
            if not process:
                requests.close()
                for descriptor, (_, other) in running.items():
                    os.close(descriptor)
                    os.close(other)
                begin(streams, status)
                return *json.loads(job), client
            running[os.pidfd_open(process)] = process, status
            for descriptor in (*streams, client):
                os.close(descriptor)
    os._exit(0)


def end(descriptor, process, status):
    """Say how a process ended."""
    _, code = os.waitpid(process, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(code))
    os.close(descriptor)
    os.close(status)


def begin(streams, status):
    """Lead a session, say which process this is, and take the streams for the standard ones."""
    os.setsid()
    os.write(status, b"%d\n" % os.getpid())
    os.close(status)
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)


def execute(arguments, environment, folder, anew, fresh, client):
    """Do what ``python`` does with these arguments in a process that has just started.

    It has subjects' processes, where they are not ``fresh``, from the same server, whose other end
    is ``client``.
    """
    import numpy as np

    # The server's own may be files, in which one can seek; these are pipes.
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    random.seed()
    np.random.seed()
    isolated = arguments[0] == "-P"
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [*([] if isolated else [""]), *paths]
    for name in [*sys.modules] if anew else ():
        if name.partition(".")[0] == "gatewise":
            del sys.modules[name]
    option, program, *sys.argv[1:] = arguments[isolated:]
    code = 0
    if not fresh:
        server = Server()
        server.requests = socket.socket(fileno=client)
        importlib.import_module(STARTING.rpartition(".")[0]).subprocess = server.double
    if option == "-c":
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    elif program == WORKER:
        importlib.import_module(program).main()
    else:
        try:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
            if not isinstance(code, int | None):
                raise
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)  # what is imported takes half a second to clear away


if __name__ == "__main__":
    import hypothesis

    import gatewise

    for module in MODULES:
        importlib.import_module(module)
    gatewise.check("torch:GRU", checks="smoke,jvp", budget="quick")  # torch imports as it is used
    # Hypothesis reads the constants of every module, once they are all there.
    held = hypothesis.given(hypothesis.strategies.integers())(lambda n: None)
    hypothesis.settings(database=None)(held)()
    gc.freeze()
    gc.set_threshold(SELDOM)
    execute(*serve(socket.socket(fileno=int(sys.argv[1]))))
