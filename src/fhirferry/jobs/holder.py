"""Who holds a job: a text that names this very process, so that another one can tell whether it has ended.

`host/pid/start/namespace/boot/token`. A process id alone is used again after a while; with the start time, the boot and
the pid namespace (containers have their own) it is not. What the system does not tell is `-`. The token tells two
workers of one process apart.
"""

from __future__ import annotations

import os
import sys

_UNKNOWN = "-"


def make_holder() -> str:
    """A new holder text of this process; every call gives another."""
    pid = os.getpid()
    namespace, boot = _system()
    start = _UNKNOWN if namespace == _UNKNOWN else _state_and_start(pid)[1]
    return "/".join((_host(), str(pid), start, namespace, boot, os.urandom(6).hex()))


def is_dead(holder: str) -> bool:
    """True only when it is certain that the holder's process has ended; a wrong True would let two work on one job.

    Linux: the same host name, boot and pid namespace, and no process of this id and start time; a zombie has ended, a
    stopped process has not. Other POSIX systems: the same host name, and the system knows no such process id. Windows:
    never certain. Where it is False for a dead one, the heartbeat's time-out decides.
    """
    parts = holder.split("/")
    if len(parts) != 6 or not parts[1].isdecimal():
        return False
    host, pid, start, namespace, boot, _token = parts
    if host != _host() or (namespace, boot) != _system():
        return False
    if start != _UNKNOWN:
        state, present = _state_and_start(int(pid))
        if present != _UNKNOWN:
            return state in "ZX" or present != start
    # No entry in /proc is no proof: with `hidepid` other users' processes have none.
    return _gone(int(pid))


def describe(holder: str) -> str:
    """The holder for a person: `process 4711 on myhost`."""
    parts = holder.split("/")
    return f"process {parts[1]} on {parts[0]}" if len(parts) == 6 else holder


def _host() -> str:
    if sys.platform == "win32":
        return os.environ.get("COMPUTERNAME", _UNKNOWN)
    return os.uname().nodename.replace("/", _UNKNOWN)


def _system() -> tuple[str, str]:
    """Inode of this pid namespace, and boot id; unknown where /proc is absent, or shows another pid namespace."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - pathlib costs start-up time
            return _UNKNOWN, _UNKNOWN
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
        return namespace.strip("pid:[]"), _read("/proc/sys/kernel/random/boot_id").strip()
    except OSError:
        return _UNKNOWN, _UNKNOWN


def _state_and_start(pid: int) -> tuple[str, str]:
    """State letter and start time in clock ticks since boot (proc(5): fields 3 and 22); unknown if not to be seen."""
    try:
        stat = _read(f"/proc/{pid}/stat")
    except OSError:
        return _UNKNOWN, _UNKNOWN
    fields = stat[stat.rindex(")") + 1 :].split()  # field 2, the command, may hold blanks and brackets itself
    return fields[0], fields[19]


def _gone(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # os.kill(pid, 0) would send it Ctrl-C
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        return file.read()
