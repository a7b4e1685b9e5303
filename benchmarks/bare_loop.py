"""What an export cannot do without: read the pages with the store's own query, write and fsync them. Nothing else.

    python benchmarks/bare_loop.py STORE FOLDER

No ledger, no checksum, no pin, no check of a page, no error handling; the yardstick that `fhirferry export` is held to.
"""

import os
import sqlite3
import sys
from pathlib import Path

SQL = Path(__file__).parents[1] / "src/fhirferry/store/sql/walk_key.sql"
QUERIES = dict(part.split("\n", 1) for part in SQL.read_text("utf-8").split("-- name: ")[1:])
ALL = 2**63 - 2  # a T at which all current versions are visible


def main(store: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    db = sqlite3.connect(f"{Path(store).absolute().as_uri()}?mode=ro", uri=True)
    db.text_factory = bytes
    for code, name in db.execute("select code, name from type where resources > 0").fetchall():
        at = {"t": ALL, "type": code, "k0": code << 40, "k1": (code + 1) << 40, "limit": 1000}
        with (folder / f"{name.decode()}.ndjson").open("wb", buffering=0) as out:
            while True:
                _, _, end, count, _, _ = db.execute(QUERIES["scan"], at).fetchone()
                if not count:
                    break
                out.write(db.execute(QUERIES["plain"], {**at, "k1": end}).fetchone()[0])
                at["k0"] = end
            os.fsync(out.fileno())


main(sys.argv[1], Path(sys.argv[2]))
