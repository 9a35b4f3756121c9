"""The sandbox of a subject's process: namespaces, limits, and an end with its parent.

A process calls ``enter`` before it runs users' code. On systems with user namespaces the program
sees no other processes, no network, and an empty folder in the place of the run's; it has no
rights, and its descendants end with it. On other systems it is an ordinary process, whose
descendants are searched and ended. Runs record which of the two was in force.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import site
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

IN_FORCE = "its own process, in namespaces without a network, other processes or the runs' folder"
NOT_IN_FORCE = (
    "its own process alone: this system offers no namespaces, so it sees files, the network and "
    "the process that judges it, which it could stop or change"
)

NEW_USER, NEW_MOUNTS, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x00020000, 0x20000000, 0x40000000
NEW_MESSAGES = 0x08000000
NAMESPACES = NEW_USER | NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK | NEW_MESSAGES
READ_ONLY, AGAIN, BOUND, RECURSIVE, PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
SET_END_WITH_PARENT, SET_READABLE, SET_SUBREAPER, SET_NO_NEW_RIGHTS, DROP_BOUND = 1, 4, 36, 38, 24
CAPABILITIES_VERSION = 0x20080522
LAST_CAPABILITY = 63
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1

OWN_CODE = Path(__file__).resolve().parents[2]
"""The folder of the package, which is protected: a layer that changed it would judge itself."""

IMPORTS = 16 * 1024
"""Further MiB of addresses during an import, since libraries reserve many."""


LARGEST_FILE = 2**30
"""The most bytes of a file that a program may write, its standard error included."""


class Refused(OSError):
    """The system does not allow the operation."""


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parents end, if the system supports it."""
    with contextlib.suppress(OSError, AttributeError):
        _call("prctl", SET_SUBREAPER, 1, 0, 0, 0)


def close_to_others() -> None:
    """Deny other processes of the user access to this one, if the system supports it."""
    with contextlib.suppress(OSError, AttributeError):
        _call("prctl", SET_READABLE, 0, 0, 0, 0)


def enter(hidden: Sequence[str]) -> str:
    """Put this process into namespaces of its own; return the isolation in force.

    It must have one thread. The caller continues in a new process; the original one waits for it
    and ends as it does. ``hidden`` are folders that the new process does not see.
    """
    try:
        if sys.platform != "linux" or os.environ.get("GATEWISE_NAMESPACES") == "none":
            raise Refused("there are no namespaces")
        _require_namespaces()
        user, group = os.geteuid(), os.getegid()
        _call("unshare", NAMESPACES)
    except (OSError, AttributeError):
        with contextlib.suppress(OSError, AttributeError):
            _call("prctl", SET_END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        with contextlib.suppress(OSError, AttributeError):
            _drop_rights()
        return NOT_IN_FORCE
    _map(user, group)
    _fork_and_end_as_it_does()  # the first in its namespace: all others end when it does
    _mount_own_processes()
    for folder in hidden:
        _hide(folder)
    own = (str(OWN_CODE), sys.prefix, sys.base_prefix, site.getusersitepackages())
    for protected in (*own, "/proc/sys", "/sys"):
        _protect(protected)
    with contextlib.suppress(OSError):  # no namespaces in it, with rights of their own
        Path("/proc/sys/user/max_user_namespaces").write_text("0", encoding="ascii")
    with contextlib.suppress(OSError):
        _raise_loopback()
    _fork_and_end_as_it_does()  # the first ignores signals that it has no handler for
    _drop_rights()
    return IN_FORCE


def _require_namespaces() -> None:
    """Raise Refused unless namespaces work, tried in a disposable process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            user, group = os.geteuid(), os.getegid()
            _call("unshare", NAMESPACES)
            _map(user, group)
            if os.fork() == 0:  # processes are its own from its first child on
                _mount_own_processes()
                os.write(writer, b"1")
            else:
                os.wait()
        finally:
            os._exit(0)
    os.close(writer)
    allowed = os.read(reader, 1)
    os.close(reader)
    os.waitpid(child, 0)
    if not allowed:
        raise Refused("namespaces are not allowed")


def _map(user: int, group: int) -> None:
    """Map user and group to themselves; inside they have all rights until these are dropped."""
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def _fork_and_end_as_it_does() -> None:
    """Continue in a child; the parent waits for it and ends as it does."""
    child = os.fork()
    if child == 0:
        _call("prctl", SET_END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        return
    os.close(0)  # so that whoever waits at the other end of the pipes sees that the child has ended
    os.close(1)
    _end_with(_wait(child))


def _wait(child: int) -> int:
    """Return the child's status, and reap other processes that end."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            return status


def _end_with(status: int) -> None:
    signalled = os.WIFSIGNALED(status)
    code = SIGNALLED + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status)
    if os.getpid() != 1 and code - SIGNALLED in {*signal.valid_signals()}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(code - SIGNALLED, signal.SIG_DFL)
        os.kill(os.getpid(), code - SIGNALLED)
    os._exit(code)  # the first process of a namespace cannot end itself by a signal


SIGNALLED = 128
"""The offset of a signal's number in an exit code, as in shells."""


def _mount_own_processes() -> None:
    _call("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)
    _call("mount", b"proc", b"/proc", b"proc", 0, None)


def _hide(folder: str) -> None:
    if Path(folder).is_dir():
        _call("mount", b"none", os.fsencode(folder), b"tmpfs", 0, b"size=1m")


def _protect(folder: str) -> None:
    """Make a folder read-only, without the mounts below it."""
    path = os.fsencode(folder)
    with contextlib.suppress(OSError):  # not everything can be bound, nor mounted with other flags
        _call("mount", path, path, None, BOUND | RECURSIVE, None)
        _call("mount", path, path, None, BOUND | READ_ONLY | AGAIN, None)


def _raise_loopback() -> None:
    """Enable the loopback network, which some libraries use."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(probe, GET_FLAGS, request))
        fcntl.ioctl(probe, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | UP))


def _drop_rights() -> None:
    for capability in range(LAST_CAPABILITY + 1):
        with contextlib.suppress(OSError):
            _call("prctl", DROP_BOUND, capability, 0, 0, 0)
    _call("prctl", SET_NO_NEW_RIGHTS, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raise Refused if it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise Refused(number, f"{name}: {os.strerror(number)}")


def limit_files() -> None:
    """Limit files to ``LARGEST_FILE`` bytes, standard error included."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; a lower limit is there
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))


@contextlib.contextmanager
def with_memory(bytes_more: int) -> Iterator[None]:
    """Limit the block to so many bytes of addresses beyond those in use, else MemoryError."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # Windows; no /proc
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    least = [used * resource.getpagesize() + bytes_more, *(n for n in (soft, hard) if n >= 0)]
    resource.setrlimit(resource.RLIMIT_AS, (min(least), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def limit_memory(mebibytes: int, more: int = 0) -> None:
    """Limit the process to so many MiB of addresses beyond those in use; 0 is no limit.

    ``more`` is allowed until another call withdraws it. Systems without such limits are left
    unlimited. The system can limit addresses, not memory in use.
    """
    if not mebibytes:
        return
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # Windows; no /proc
        return
    hard = used * resource.getpagesize() + (mebibytes + more) * 2**20
    before = resource.getrlimit(resource.RLIMIT_AS)[1]
    if before != resource.RLIM_INFINITY:
        hard = min(hard, before)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
