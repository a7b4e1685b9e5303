"""What the demo does, step by step, and what it proves at each."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fhirferry.cli.demo_folder import CHANGES, CORRECTED, HOME, LEDGER, OUT, SAMPLES, STORE, DemoFolder
from fhirferry.cli.demo_shell import Ran, Shell
from fhirferry.cli.exits import Exit
from fhirferry.cli.opening import open_exporter
from fhirferry.cli.words import counted
from fhirferry.model.errors import FerryError
from fhirferry.model.instant import Clock, Instant, format_instant
from fhirferry.model.job import ExportJobRecord, JobStatus
from fhirferry.model.output import OutputFile
from fhirferry.model.quantity import format_duration, format_size
from fhirferry.settings import database_url

STEPS = 6
EXPORTING = 8.0
"""Seconds that the export is made to take, so that it has a middle."""
FILES = 30
"""So many files, about: each is a commit."""
MIDDLE = 40
"""Percent at which it is killed: what a moment later is committed too is still far from the end."""
PER_PATIENT = 470_000
"""Bytes in the folder at the end."""
PATIENTS_PER_SECOND = 55
"""Made up, imported and verified, by one of two busy cores."""
STARTING = 8
"""Seconds for all that does not grow with the data."""
PHONE = re.compile(rb'(\{"system":"phone","value":")([^"]*)')
UPDATED = re.compile(rb'("lastUpdated":")([^"]*)')


class DemoFailed(Exception):
    """Something did not come out as it must; the message says what."""


class Story:
    """shell: stands in the folder. tell() needs it to be empty."""

    def __init__(self, shell: Shell, folder: DemoFolder, patients: int, seed: int, clock: Clock) -> None:
        self._clock = clock
        self._shell, self._folder, self._patients, self._seed = shell, folder, patients, seed
        self._ledger = database_url(str(folder.path / LEDGER))
        self._step = 0

    def tell(self) -> None:
        """All of it. DemoFailed, DemoStopped."""
        start = time.monotonic()
        self._begin()
        self._make_up()
        self._import()
        export = self._export_command()
        killed, files = self._export_and_kill(export)
        whole = self._resume(export, killed, files)
        self._verify()
        self._write_and_export_again(whole.transaction_time or 0)
        self._end(time.monotonic() - start)

    def _begin(self) -> None:
        size = format_size(self._patients * PER_PATIENT)
        seconds = 5 * round((EXPORTING + STARTING + self._patients / PATIENTS_PER_SECOND) / 5)
        self._shell.tell(
            f"fhirferry demo: made-up data goes in, comes out, and is proved whole, though the export is killed in "
            f"the middle. This takes about {counted(seconds, 'second')} and {size}, all in {self._folder.short}.",
            "Behind $ are the commands as you could type them, below each what it says, long tables shortened.",
        )
        if self._shell.own_settings:
            names = ", ".join(self._shell.own_settings)
            self._shell.tell(f"Not heeded by the commands here, but by those that you type: {names}.")
        self._shell.show("mkdir", "-p", self._folder.short)
        self._shell.show("cd", self._folder.short)

    def _make_up(self) -> None:
        self._title("Make up data")
        self._shell.tell("Patients with their histories, in FHIR R4. No person in it is real.")
        seed = [] if self._seed == 1 else ["--seed", str(self._seed)]
        self._run("fhirferry", "generate", "--patients", str(self._patients), *seed, "--to", SAMPLES)

    def _import(self) -> None:
        self._title("Import it into a store")
        self._shell.tell(f"The store is one SQLite file, {STORE}.")
        self._run("fhirferry", "import", SAMPLES)

    def _export_command(self) -> list[str]:
        size = self._folder.size(SAMPLES)
        limits = ["--max-file-size", _option(size / FILES), "--limit-rate", _option(size / EXPORTING)]
        return ["fhirferry", "export", "--to", OUT, *limits]

    def _export_and_kill(self, command: Sequence[str]) -> tuple[ExportJobRecord, Sequence[OutputFile]]:
        """The job as the kill left it, and its committed files."""
        self._title("Export it, and kill that")
        self._shell.tell(
            "Small files and a limited rate, so that there is a middle to kill it in. Unlimited it would be done at once."
        )
        running = self._shell.start(*command)
        ended = running.kill_when(self._in_the_middle)
        if ended is not None:
            _complete(ended)
        jobs = self._jobs(unfinished=True) if ended is None else ()
        if not jobs:
            raise DemoFailed(
                f"the export had ended before it could be killed. Give it more to do: --patients {self._patients * 4}"
            )
        (job,), files = jobs, self._files(jobs[0])
        _must(not (self._folder.path / OUT / "manifest.json").exists(), "a part of an export has a manifest.")
        self._shell.tell(f"Now, from outside, at {job.progress} %, without any warning:")
        self._shell.show("kill", "-9", str(running.pid))
        self._shell.tell("The ledger, the file that knows all jobs, still has what was committed:")
        self._run("fhirferry", "jobs", "list")
        total = sum(each.resources for each in job.totals.values())
        self._shell.tell(
            f"{job.resources:,} of {counted(total, 'resource')} were committed, in {counted(len(files), 'file')}. "
            f"What was half written is in none of them, and there is no manifest yet: nobody can take this for whole."
        )
        return job, files

    def _resume(self, command: Sequence[str], killed: ExportJobRecord, before: Sequence[OutputFile]) -> ExportJobRecord:
        self._title("The same command again")
        self._run(*command)
        (job,) = self._jobs()
        _must(job.status is JobStatus.COMPLETED, f"the job is {job.status}.")
        _must(job.id == killed.id and job.epoch > killed.epoch, "it did not take up the job that was killed.")
        _must(job.transaction_time == killed.transaction_time, "the transaction time changed.")
        after = {(file.part, file.name, file.sha256) for file in self._files(job)}
        kept = sum((file.part, file.name, file.sha256) in after for file in before)
        _must(kept == len(before), "files that were committed were written again.")
        self._shell.tell(
            f"It took up the same job at {killed.progress} %. The {counted(kept, 'file')} from before the kill stayed "
            f"as they were, the other {len(after) - kept:,} are new. The export still shows the store as it was at "
            f"{format_instant(job.transaction_time or 0)}, the instant that was fixed before the kill."
        )
        return job

    def _verify(self) -> None:
        self._title("Is all of it there, once?")
        self._run("fhirferry", "verify", OUT, "--against", STORE)
        self._shell.tell(
            "Every byte was read again: checksums, counts, no resource twice, none missing, none different from the "
            "store as of that instant."
        )

    def _write_and_export_again(self, since: Instant) -> None:
        self._title("Write, then export the changes")
        patient, line, phones = self._correct_a_patient()
        self._shell.tell(
            f"A phone number was wrong: {CORRECTED} is Patient/{patient} with {phones[1]} instead of {phones[0]}."
        )
        self._run("fhirferry", "import", CORRECTED)
        gone = self._one_to_delete()
        self._shell.tell("And one resource was entered in error:")
        self._run("fhirferry", "store", "delete", gone)
        self._shell.tell("Now only what came after the first export:")
        self._run("fhirferry", "export", "--to", CHANGES, "--since", format_instant(since))
        changes = self._folder.path / CHANGES
        _must(_lines(changes / "Patient-1.ndjson") == [line], "the increment is not the corrected Patient.")
        self._run("cat", f"{CHANGES}/deleted/Bundle-1.ndjson")
        entries = [msgspec.json.decode(each)["entry"] for each in _lines(changes / "deleted" / "Bundle-1.ndjson")]
        told = [each["request"]["url"] for each in entries[0]] if len(entries) == 1 else []
        _must(told == [gone], "the increment does not tell of the deletion.")
        self._run("fhirferry", "verify", CHANGES, "--against", STORE)
        self._shell.tell(
            "Exactly the one Patient, and the one deletion. The next export goes on from this one's instant."
        )

    def _end(self, seconds: float) -> None:
        self._title(f"Everything was proved, in {format_duration(seconds)}", numbered=False)
        self._shell.tell("What is where:")
        places = (
            (SAMPLES, "the made-up data"),
            (HOME, "the store, and the ledger of jobs"),
            (OUT, "the export; manifest.json lists its files"),
            (CORRECTED, "the corrected Patient"),
            (CHANGES, "what changed since"),
        )
        for name, what in places:
            size = format_size(self._folder.size(name))
            self._shell.tell(f"{self._folder.short}/{name}: {what} ({size})")
        self._title("What to try next", numbered=False)
        offers = (
            ("The exports go in again, deletions too:", ("fhirferry", "import", OUT, CHANGES, "--store", "copy.db")),
            ("All about a job:", ("fhirferry", "jobs", "show", self._jobs()[0].id)),
            ("Leave exports to a worker:", ("fhirferry", "export", "--to", "later", "--detach")),
            ("", ("fhirferry", "worker", "--until-idle")),
            ("Your own data, into a store of its own:", ("fhirferry", "import", "FOLDER", "--home", "mine")),
            ("", ("fhirferry", "export", "--to", "my-export", "--home", "mine")),
            ("Everything else:", ("fhirferry", "--help")),
        )
        way = _way_to_fhirferry()
        if way is not None:
            self._shell.tell("So that your shell finds fhirferry:")
            self._shell.offer_line(f"export PATH={shlex.quote(way)}:$PATH")
        self._shell.offer("cd", self._folder.short)
        for why, words in offers:
            if why:
                self._shell.tell(why)
            self._shell.offer(*words)
        self._shell.tell(
            "To read: README.md, docs/resuming.md, docs/chaining.md, docs/cli.md (every command).",
            "When you have seen enough:",
        )
        self._shell.offer("rm", "-r", str(self._folder.path))

    def _title(self, text: str, *, numbered: bool = True) -> None:
        if numbered:
            self._step += 1
        self._shell.title(f"{self._step}/{STEPS} {text}" if numbered else text)

    def _run(self, *words: str) -> None:
        _complete(self._shell.run(*words))

    def _in_the_middle(self) -> bool:
        try:
            return (self._folder.path / LEDGER).exists() and any(job.progress >= MIDDLE for job in self._jobs())
        except FerryError:  # the ledger is being made, or is busy: look again
            return False

    def _jobs(self, *, unfinished: bool = False) -> Sequence[ExportJobRecord]:
        with open_exporter(self._ledger) as exporter:
            return exporter.jobs(unfinished=unfinished)

    def _files(self, job: ExportJobRecord) -> Sequence[OutputFile]:
        with open_exporter(self._ledger) as exporter:
            return exporter.job(job.id).files()

    def _correct_a_patient(self) -> tuple[str, bytes, tuple[str, str]]:
        """Writes the file; the Patient's id, the line, and its former and its new number."""
        with (self._folder.path / SAMPLES / "Patient.ndjson").open("rb") as file:
            line, former = next((each.rstrip(b"\n"), found) for each in file if (found := PHONE.search(each)))
        now = re.sub(r"\.\d+", "", format_instant(self._clock()))
        line = PHONE.sub(rb"\g<1>555-0100", line, count=1)
        line = UPDATED.sub(rb"\g<1>" + now.encode(), line, count=1)
        (self._folder.path / CORRECTED).write_bytes(line + b"\n")
        return msgspec.json.decode(line)["id"], line, (former[2].decode(), "555-0100")

    def _one_to_delete(self) -> str:
        """`Type/id` of a resource that few others speak of."""
        for kind in ("AllergyIntolerance", "Immunization", "Observation", "Coverage", "Encounter"):
            found = self._folder.path / SAMPLES / f"{kind}.ndjson"
            if found.is_file():
                with found.open("rb") as file:
                    return f"{kind}/{msgspec.json.decode(next(file))['id']}"
        raise DemoFailed("there is nothing to delete. Give it more to do: --patients 500")


def _complete(ran: Ran) -> None:
    _must(ran.code == Exit.COMPLETE, f"`{' '.join(ran.words)}` ended with {ran.code}; what it says stands above.")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.is_file() else []


def _option(size: float) -> str:
    """A size as the command line takes it, of two digits or three."""
    for unit, factor in (("MB", 10**6), ("kB", 10**3)):
        if size >= 10 * factor:
            return f"{size / factor:.0f}{unit}"
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + unit
    return f"{max(1, round(size))}"


def _way_to_fhirferry() -> str | None:
    """The folder that PATH lacks; None where `fhirferry` in the reader's shell is this one."""
    ours = Path(sys.argv[0]) if Path(sys.argv[0]).name == "fhirferry" else Path(sys.executable).with_name("fhirferry")
    theirs = shutil.which("fhirferry")
    if theirs is not None and os.path.realpath(theirs) == os.path.realpath(ours):
        return None
    return str(ours.parent.absolute())
