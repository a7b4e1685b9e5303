"""The SQL of the secrets' table in a ledger. See `sqltext`."""

from __future__ import annotations

from functools import partial

from fhirferry import sqltext

queries = partial(sqltext.queries, __path__[0])
