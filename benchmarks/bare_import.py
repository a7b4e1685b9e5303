"""What an import cannot do without: `executemany` of the rows into the store's own schema. Prints the seconds.

    python benchmarks/bare_import.py FILLED_STORE NEW_STORE

The rows come out of a filled store, in its order; fetching them is not counted. Journal, cache and durability are the
store's; a transaction takes 20,000 rows.
"""

import sqlite3
import sys
import time
from pathlib import Path

from fhirferry.store.opening import CHECKPOINT
from fhirferry.store.sqlite import WRITER_CACHE, SqliteStore

BATCH = 20_000


def main(filled: str, new: str) -> None:
    given = sqlite3.connect(f"{Path(filled).absolute().as_uri()}?mode=ro", uri=True)
    inserts = {}
    cursors = {}
    orders = {"version": "key", "body": "key", "shared": "key", "patient": "code"}
    for table, order in orders.items():
        columns = [row[1] for row in given.execute(f"pragma table_info({table})")]  # without generated ones
        inserts[table] = f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
        cursors[table] = given.execute(f"select {', '.join(columns)} from {table} order by {order}")
    SqliteStore(new, clock=lambda: time.time_ns() // 1000, create=True).close()
    started = time.perf_counter()
    db = sqlite3.connect(new, isolation_level=None)
    for setting in ("synchronous = full", f"cache_size = -{WRITER_CACHE}", f"wal_autocheckpoint = {CHECKPOINT}"):
        db.execute(f"pragma {setting}")
    seconds = time.perf_counter() - started
    while batch := {table: rows for table, cursor in cursors.items() if (rows := cursor.fetchmany(BATCH))}:
        started = time.perf_counter()
        db.execute("begin immediate")
        for table, rows in batch.items():
            db.executemany(inserts[table], rows)
        db.execute("commit")
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    db.close()  # carries the log over into the file
    print(seconds + time.perf_counter() - started)
    given.close()


main(sys.argv[1], sys.argv[2])
