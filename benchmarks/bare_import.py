"""What an import cannot do without: `executemany` of the rows into the store's own schema. Prints the seconds.

    python benchmarks/bare_import.py FILLED_STORE NEW_STORE

The rows come out of a filled store; fetching them is not counted. Journal, page size and durability are the store's.
"""

import sqlite3
import sys
from pathlib import Path
from time import perf_counter

BATCH = 20_000
DATA = ("version", "body")


def main(filled: str, new: str) -> None:
    given = sqlite3.connect(f"{Path(filled).absolute().as_uri()}?mode=ro", uri=True)
    (page_size,) = given.execute("pragma page_size").fetchone()
    given_rows = {table: given.execute(f"select * from {table} order by key") for table in DATA}
    started = perf_counter()
    db = sqlite3.connect(new, isolation_level=None)
    db.execute(f"pragma page_size = {page_size}")
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    for (statement,) in given.execute(
        "select sql from sqlite_master where sql is not null and name not like 'sqlite_%' order by rowid"
    ):
        db.execute(statement)
    seconds = perf_counter() - started
    while batch := {table: rows for table, cursor in given_rows.items() if (rows := cursor.fetchmany(BATCH))}:
        started = perf_counter()
        db.execute("begin immediate")
        for table, rows in batch.items():
            db.executemany(f"insert into {table} values ({','.join('?' * len(rows[0]))})", rows)
        db.execute("commit")
        seconds += perf_counter() - started
    started = perf_counter()
    db.close()
    print(seconds + perf_counter() - started)
    given.close()


main(sys.argv[1], sys.argv[2])
