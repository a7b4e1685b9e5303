"""Small steps that the tests of folders take."""

from __future__ import annotations

from pathlib import Path

from fhirferry.destinations.folder import FolderDestination

JOB = "0b6c5e1a"


def write(destination: FolderDestination, stem: str = "a", data: bytes = b"{}\n") -> str:
    """A committed part; its name."""
    part = destination.part_name(JOB, stem)
    writer = destination.create(part)
    writer.write(data)
    writer.commit()
    return part


def tree(root: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """Everything below, with mode, time of change and content."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in sorted(root.rglob("*"))
    }
