"""What exported lines name for the next round: resources that they refer to, and the Provenance of themselves.

Taken from the lines as they go out: what a filter left behind names nothing, and what `_elements` cut away neither. Nor do
superseded versions: what comes along is what T shows.
"""

from __future__ import annotations

from fhirferry.model.instant import Instant
from fhirferry.model.partition import Kind, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.sources.protocol import Source

MANY = 100_000
"""With so many names a unit comes to its commit point: they are held in memory until then."""
AT_ONCE = 1_000
"""Lines about which the source is asked at once."""


class Naming:
    """Of one partition. names: found so far, each once."""

    def __init__(self, request: ExportRequest, plan: PartitionPlan, t: Instant, source: Source) -> None:
        self.names: set[str] = set()
        self._source = source
        self._t = t
        about = plan.resource_type == "Provenance"
        depth = request.reference_depth if request.include_referenced else 0
        output = plan.kind is Kind.OUTPUT
        # Provenance belongs to what it is about, which went out one round before.
        self._types = request.include_referenced or () if output and plan.round - about < depth else ()
        self._provenance = request.provenance if output and not about and plan.round <= depth else None

    @property
    def idle(self) -> bool:
        """Nothing is asked for, whatever the lines hold."""
        return not self._types and self._provenance is None

    @property
    def full(self) -> bool:
        return len(self.names) >= MANY

    def take(self, body: bytes) -> None:
        """Look through lines that go out. Raises the source's errors."""
        from fhirferry.transforms.references import names_of, references_in

        if self._types:
            self.names |= references_in(body, self._types)
        if self._provenance is not None:
            lines = list(names_of(body))
            for start in range(0, len(lines), AT_ONCE):
                some = lines[start : start + AT_ONCE]
                self.names.update(self._source.associated(self._t, some, latest=self._provenance == "latest"))
