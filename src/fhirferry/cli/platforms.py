"""Where fhirferry runs, and where its databases may lie (docs/platforms.md): Windows is refused, network file systems
are warned of.

SQLite's WAL mode needs memory that all its processes share, and locks that hold: a network file system gives the first
to the processes of one machine only, and the second as well as its server does. It is no refusal: with one machine at
work it goes well, and a home directory on NFS is where people try things.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fhirferry.model.errors import RequestError

if TYPE_CHECKING:
    from fhirferry.cli.options import Invocation

MOUNTS = "/proc/self/mountinfo"
"""What is mounted, as Linux tells it (proc(5)). Elsewhere nothing is known, and nobody is warned."""

DATABASES = ("store", "source", "ledger")
"""Parameters that name a database, when the command has them."""

WRITING = ("import", "export", "worker")
"""Commands that warn: whoever looks only was warned before."""

_NETWORK = frozenset({
    "9p", "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "drvfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.ext2", "fuse.ntfs-3g", "fuse.exfat")


def look_around(invocation: Invocation, given: Mapping[str, Any], platform: str = sys.platform) -> None:
    """RequestError on Windows; a word for each database of a writing command that lies on a network file system.

    given: the command's parameters.
    """
    if platform in ("win32", "cygwin"):  # folders cannot be flushed there, and no file be renamed that somebody reads
        raise RequestError(
            "fhirferry does not run on Windows; run it in WSL 2 (in a folder of Linux, not under /mnt/c), or in a container"
        )
    if invocation.command not in WRITING:
        return
    from fhirferry.settings import place_of

    for name in DATABASES:
        if name in given:
            what = "ledger" if name == "ledger" else "store"
            address = given[name] or getattr(invocation.settings, what)
            if address.startswith("sqlite://") and (kind := network_kind(place_of(address))):
                invocation.console.say(
                    f"The {what} {place_of(address)} lies on a network file system ({kind}): a local disk is better, and "
                    "two machines must never use it at once."
                )


def network_kind(path: str, mounts: str | None = None) -> str | None:
    """The kind of network file system that `path` lies on, or will; None where it is local, or cannot be told."""
    while not os.path.exists(path) and path != os.path.dirname(path):  # noqa: PTH110, PTH120 - no pathlib at start-up
        path = os.path.dirname(path)  # noqa: PTH120
    try:
        device = os.stat(path).st_dev  # noqa: PTH116
        wanted = f"{os.major(device)}:{os.minor(device)}"
        with open(mounts or MOUNTS, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123
            for line in lines:
                mount, _, kind = line.partition(" - ")
                if mount.split()[2] == wanted:
                    kind = kind.split()[0]
                    fuse = kind.startswith("fuse.") and kind not in _LOCAL_FUSE
                    return kind if fuse or kind in _NETWORK else None
    except (OSError, IndexError):
        pass
    return None
