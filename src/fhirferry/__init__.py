"""fhirferry carries FHIR resources in bulk from where they are kept to where they are needed, and can prove it.

The public names; each is loaded when it is first used, so that a small export does not wait for what it does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.__about__ import __version__

if TYPE_CHECKING:
    from fhirferry.exporter import DryRun, Exporter, ExportJob
    from fhirferry.model.errors import (
        FerryError,
        JobConflict,
        JobNotFound,
        PermanentError,
        RequestError,
        TransientError,
    )
    from fhirferry.model.job import ExportJobRecord, JobSettings, JobStatus
    from fhirferry.model.output import OutputFile
    from fhirferry.model.request import ExportRequest

_HOMES = {
    "exporter": ("DryRun", "ExportJob", "Exporter"),
    "model.errors": (
        "FerryError",
        "JobConflict",
        "JobNotFound",
        "PermanentError",
        "RequestError",
        "TransientError",
    ),
    "model.job": ("ExportJobRecord", "JobSettings", "JobStatus"),
    "model.output": ("OutputFile",),
    "model.request": ("ExportRequest",),
}

__all__ = [
    "DryRun",
    "ExportJob",
    "ExportJobRecord",
    "ExportRequest",
    "Exporter",
    "FerryError",
    "JobConflict",
    "JobNotFound",
    "JobSettings",
    "JobStatus",
    "OutputFile",
    "PermanentError",
    "RequestError",
    "TransientError",
    "__version__",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"fhirferry.{home}"), name)
    raise AttributeError(f"module 'fhirferry' has no attribute {name!r}")
