"""The folder of a demo: whose it is, and what is in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fhirferry.model.errors import RequestError

MARK = ".fhirferry-demo"
SAMPLES, HOME, OUT, CORRECTED, CHANGES = "samples", "fhirferry-data", "out", "corrected.ndjson", "changes"
STORE = f"{HOME}/store.db"
LEDGER = f"{HOME}/ledger.db"


class DemoFolder:
    """place: absolute. typed: it is not the default one, so a command must name it."""

    def __init__(self, place: str, *, typed: bool) -> None:
        self.path = Path(place)
        self._typed = typed

    @property
    def short(self) -> str:
        """As the reader writes it where he stands."""
        place = os.path.relpath(self.path)
        return str(self.path) if place.startswith(os.pardir) else place

    def command(self, *options: str) -> list[str]:
        """The words of `fhirferry demo …` for this folder."""
        return ["fhirferry", "demo", *options, *(["--to", self.short] if self._typed else [])]

    def make(self, *, again: bool) -> None:
        """It is there, it is the demo's, and nothing is in it. RequestError where that would cost something of others.

        What a person put into a former demo's folder stays there.
        """
        try:
            if self._held() and not (self.path / MARK).is_file():
                raise RequestError(f"{self.path} is not empty, and no demo made it; give another folder with --to")
            if self._held() and not again:
                import shlex

                raise RequestError(
                    f"{self.path} holds a former demo. To replace it: {shlex.join(self.command('--again'))}"
                )
            for name in (OUT, CHANGES, CORRECTED, SAMPLES, HOME):
                _remove(self.path / name)
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / MARK).write_text("Made by `fhirferry demo`; --again replaces what it made.\n")
        except OSError as error:
            raise RequestError(
                f"{self.path} cannot be used ({error.strerror}); give another folder with --to"
            ) from error

    def size(self, name: str) -> int:
        """Bytes of a file, or of all files below."""
        path = self.path / name
        if path.is_file():
            return path.stat().st_size
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())

    def _held(self) -> bool:
        return self.path.exists() and next(self.path.iterdir(), None) is not None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
