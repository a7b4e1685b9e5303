"""The command line with a fault armed: `FHIRFERRY_FAULT=POINT:1:kill python -m fhirferry.testing.faulty export …`.

FHIRFERRY_FAULT_ONCE names a file that makes the fault happen once over all processes. A pool's process imports this
module again, so the fault is armed there too.
"""

from __future__ import annotations

import os

from fhirferry import faultpoints
from fhirferry.testing.faults import parse_fault

if fault := os.environ.get("FHIRFERRY_FAULT"):
    faultpoints.armed = parse_fault(fault, os.environ.get("FHIRFERRY_FAULT_ONCE"))

if __name__ == "__main__":
    from fhirferry.cli.main import main

    main()
