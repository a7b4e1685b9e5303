"""`fhirferry verify`: read an export again and say whether it is what its manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fhirferry.cli.exits import Exit
from fhirferry.cli.options import Invocation, define, json_option, option
from fhirferry.cli.values import DATABASE, PLACE

if TYPE_CHECKING:
    from fhirferry.engine.verify_findings import Finding

EXAMPLE = """
fhirferry verify out
fhirferry verify out/manifest.json --against fhirferry-data/store.db
"""


@define("verify", example=EXAMPLE)
@click.argument("target", type=PLACE, metavar="MANIFEST_OR_FOLDER")
@option("--account", metavar="NAME", help="Azure's storage account of an address like az://CONTAINER/PREFIX.")
@option("--against", type=DATABASE, metavar="URL", help="Store to compare with, as of the export's transaction time.")
@option("--patients-from", metavar="FILE", help="The list that the export was made of; - is stdin. Needs --against.")
@option("--ledger", type=DATABASE, metavar="URL", help="Ledger of the export's job; without it the default ledger.")
@json_option
def command(
    invocation: Invocation,
    target: str,
    account: str | None,
    against: str | None,
    patients_from: str | None,
    ledger: str | None,
) -> Exit:
    """Read every file of an export again: checksums, counts, types, doubles, and what a store has beside it.

    Of an export of a long list of patients, or one that goes on from another, the ledger tells what the manifest does
    not. Ends with 0 when all holds, 4 when something differs, 5 when it cannot tell.
    """
    from fhirferry.cli.lines_verify import FindingLine, VerifyLine
    from fhirferry.cli.opening import destination_address, ledger_address, ledger_there, open_exporter, store_address
    from fhirferry.cli.progress_verify import VerifyProgress
    from fhirferry.cli.texts_verify import finding_text, verify_page
    from fhirferry.engine.verify_findings import Outcome
    from fhirferry.exporting.patient_list import PatientList

    console = invocation.console
    folder, manifest = _split(destination_address(target, account))
    source = store_address(invocation, against) if against else None

    def on_finding(finding: Finding) -> None:
        console.line(FindingLine.of(finding))
        console.text(finding_text(finding))

    patients = None
    if patients_from is not None:
        if source is None:
            raise click.UsageError("--patients-from says what to compare with a store; name that with --against.")
        from fhirferry.cli.patients_file import patients_from as read

        patients = PatientList(read(patients_from))
    known = ledger_address(invocation, ledger) if ledger else ledger_there(invocation) if source else None
    with open_exporter(known) as exporter:
        report = exporter.verify(
            folder,
            manifest_name=manifest,
            against=source,
            patients=patients,
            on_finding=on_finding,
            on_progress=VerifyProgress(console, invocation.clock),
        )
    console.end_progress()
    console.line(VerifyLine.of(report))
    console.text(verify_page(report))
    codes = {
        Outcome.HOLDS: Exit.COMPLETE,
        Outcome.DIFFERS: Exit.DIFFERS,
        Outcome.CANNOT_TELL: Exit.CANNOT_TELL,
    }
    return codes[report.outcome]


def _split(target: str) -> tuple[str, str]:
    """Folder and manifest of what was typed: a folder holds `manifest.json`."""
    from fhirferry.model.errors import RequestError
    from fhirferry.settings import path_of

    if not target.startswith("file://"):
        folder, _, last = target.rpartition("/")
        return (folder, last) if last.endswith(".json") else (target, "manifest.json")
    path = path_of(target)
    if path.is_dir():
        return target, "manifest.json"
    if not path.is_file():
        raise RequestError(f"there is no {path}; give the folder of an export, or its manifest")
    if path.suffix != ".json":
        raise RequestError(f"{path} is no manifest; give the folder of an export, or its manifest.json")
    return target.rpartition("/")[0], path.name
