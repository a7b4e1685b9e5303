"""How resources get into the store: NDJSON, Bundles, folders, an export with its deletions."""
