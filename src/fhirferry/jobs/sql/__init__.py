"""The ledger's SQL, one file per database. See `sqltext`."""

from __future__ import annotations

from functools import partial

from fhirferry import sqltext

script = partial(sqltext.script, __path__[0])
queries = partial(sqltext.queries, __path__[0])
