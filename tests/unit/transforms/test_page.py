"""What happens to a page on its way: filters, elements, and what cannot be judged."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fhirferry.model.partition import Issue, Kind, Page, PartitionPlan
from fhirferry.model.request import ExportRequest
from fhirferry.transforms.page import transform_for

FINAL = b'{"resourceType":"Observation","id":"a","status":"final","valueQuantity":{"value":1.50}}\n'
DRAFT = b'{"resourceType":"Observation","id":"b","status":"preliminary","note":[{"text":"\xe2\x80\xa8 x"}]}\n'
BROKEN = b'{"resourceType":"Observation","id":"c","status":"final"\n'
TAG = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'


def plan(kind: str, of: Kind = Kind.OUTPUT) -> PartitionPlan:
    return PartitionPlan(kind=of, resource_type=kind, bounds={})


def page(*lines: bytes) -> Page:
    return Page(body=b"".join(lines), count=len(lines), continuation="7", issues=(Issue(diagnostics="before"),))


def run(request: ExportRequest, *lines: bytes, kind: str = "Observation") -> Page:
    transform = transform_for(request, plan(kind))
    assert transform is not None
    return transform(page(*lines))


FINALS = ExportRequest(types=("Observation", "Patient"), type_filters=("Observation?status=final",))


def test_b46_only_what_matches_stays_and_it_stays_as_it_is() -> None:
    left = run(FINALS, DRAFT, FINAL, DRAFT)
    assert (left.body, left.count, left.continuation) == (FINAL, 1, "7")
    assert left.issues == page().issues


def test_a_page_of_which_nothing_stays_is_empty_and_goes_on() -> None:
    left = run(FINALS, DRAFT, DRAFT)
    assert (left.body, left.count, left.continuation) == (b"", 0, "7")


def test_a_page_of_which_all_stays_is_not_copied() -> None:
    transform = transform_for(FINALS, plan("Observation"))
    whole = page(FINAL, FINAL)
    assert transform is not None
    assert transform(whole) is whole
    nothing = page()
    assert transform(nothing) is nothing


def test_b48_nothing_is_done_to_types_without_a_filter_and_to_deletions() -> None:
    assert transform_for(FINALS, plan("Patient")) is None
    assert transform_for(FINALS, plan("Observation", Kind.DELETED)) is None
    assert transform_for(ExportRequest(types=("Observation",)), plan("Observation")) is None
    assert transform_for(ExportRequest(elements=("Patient.name",)), plan("Observation")) is None


def test_l34_what_cannot_be_judged_is_left_out_and_named() -> None:
    left = run(FINALS, FINAL, BROKEN, b"[]\n", FINAL)
    assert (left.body, left.count) == (FINAL + FINAL, 2)
    told = [issue.diagnostics for issue in left.issues]
    assert told[1].startswith("Observation/c cannot be read")
    assert told[2].startswith("An unnamed Observation cannot be read")
    assert "final" not in "".join(told)


def test_l34_the_same_for_elements() -> None:
    left = run(ExportRequest(elements=("code",)), BROKEN, FINAL)
    assert left.count == 1
    assert left.body.endswith(b"}\n")
    assert len(left.issues) == 2


def test_filters_look_at_the_whole_resource_elements_cut_afterwards() -> None:
    request = ExportRequest(
        types=("Observation",), type_filters=("Observation?value-quantity=1.5",), elements=("subject",)
    )
    left = run(request, FINAL, DRAFT)
    assert left.body == b'{"resourceType":"Observation","id":"a","meta":{"tag":[' + TAG + b']},"status":"final"}\n'


def test_a_type_that_fhir_lacks_keeps_what_every_type_has_and_what_was_asked_for() -> None:
    odd = b'{"resourceType":"Wizard","id":"m","meta":{"versionId":"1"},"name":"Merlin","_name":{},"age":1}\n'
    left = run(ExportRequest(elements=("name",)), odd, kind="Wizard")
    assert b'"name":"Merlin","_name":{}}' in left.body
    assert b"age" not in left.body
    assert TAG in left.body
    assert transform_for(ExportRequest(elements=("Patient.name",)), plan("Wizard")) is None


def test_a_type_of_the_other_release_is_cut_by_that_ones_rules() -> None:
    citation = b'{"resourceType":"Citation","id":"c","status":"active","title":"T","url":"u"}\n'  # in R4B only
    left = run(ExportRequest(elements=("url",)), citation, kind="Citation")
    assert b'"status":"active"' in left.body
    assert b"title" not in left.body


def test_start_up_without_filters_reads_nothing_of_what_fhir_says() -> None:
    code = (
        "import sys\n"
        "import fhirferry.engine.task, fhirferry.engine.unit, fhirferry.engine.verify\n"
        "from fhirferry.exporter import Exporter\n"
        "from fhirferry.model.request import ExportRequest\n"
        "from fhirferry.model.partition import PartitionPlan\n"
        "from fhirferry.transforms.asking import canonical, ignored, refuse_problems\n"
        "from fhirferry.transforms.page import transform_for\n"
        "request = canonical(ExportRequest(types=('Patient',)))\n"
        "refuse_problems(request, ())\n"
        "assert ignored(request) == ()\n"
        "assert transform_for(request, PartitionPlan(resource_type='Patient', bounds={})) is None\n"
        "print([m for m in sys.modules if m in ('fhirferry.fhir.definitions', 'fhirferry.fhir.elements') or 'search' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("lenient", ["strict", "lenient"])
def test_promise_5_a_unit_refuses_a_request_that_nobody_checked(lenient: str) -> None:
    from fhirferry.model.errors import RequestError

    for wrong in ({"type_filters": ("Observation?nonsense=1",)}, {"elements": ("Pasient.name",)}):
        with pytest.raises(RequestError):
            transform_for(ExportRequest(handling=lenient, **wrong), plan("Observation"))
