"""Exit codes, and the one place that turns errors into them."""

from __future__ import annotations

from enum import IntEnum

from fhirferry.model.errors import FerryError, RequestError, SnapshotGone, SourceConnectionError


class Exit(IntEnum):
    """What the process tells its caller, the same in every command."""

    COMPLETE = 0
    FAILED = 1
    USAGE = 2
    WITH_ISSUES = 3  # complete, with an error file or bad lines
    DIFFERS = 4  # verify: something does not hold
    CANNOT_TELL = 5  # verify: the versions to compare with were pruned
    STOPPED = 6  # stopped before the end, resumable
    FORCED = 130


def exit_for(error: BaseException, command: str) -> Exit:
    """The exit code of an error that ended `command` (its first name, `verify`)."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.FORCED
    if isinstance(error, SnapshotGone) and command == "verify":
        return Exit.CANNOT_TELL
    # What was given as a store is none. While a job runs, the job has the error, and no command ends with it.
    if isinstance(error, (RequestError, SourceConnectionError)):
        return Exit.USAGE
    return Exit.FAILED


def sentence_for(error: BaseException) -> str:
    """One line for a person. What was not raised on purpose also says how to see where it came from."""
    if isinstance(error, FerryError):
        return " ".join(filter(None, (error.message, error.details)))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    kind = type(error).__name__
    return (
        f"unexpected {kind}; this is a defect of fhirferry: repeat the command with --debug and report what it prints"
    )
