#!/bin/sh
# What `make demo` does until `fhirferry demo` exists: a made-up folder goes in, an export comes out, verify reads it.
set -eu
bin=${1:-.venv/bin}
out=demo-output
rm -rf "$out"
say() { printf '\n$ %s\n' "$*" && "$@"; }
say "$bin/python" benchmarks/data.py "$out/input" --resources 5000
say "$bin/fhirferry" import "$out/input" --store "$out/store.sqlite"
say "$bin/fhirferry" export --from "$out/store.sqlite" --to "$out/export" --ledger "$out/ledger.sqlite"
say "$bin/fhirferry" verify "$out/export" --against "$out/store.sqlite"
say ls -l "$out/export"
