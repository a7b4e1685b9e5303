"""What hypothesis makes: small worlds whose resources refer to each other, their histories, and what is asked of them.

Few ids, so that everything meets everything. The generator knows what its filters mean, because it has few of them.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.property.oracle import Filters, literals

PEOPLE = ("p1", "p2", "p3", "p4")
NAMES = ("x1", "x2", "x3")
TYPES = (
    "AllergyIntolerance",
    "Appointment",
    "Condition",
    "Device",
    "Encounter",
    "Group",
    "Location",
    "Medication",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "Provenance",
)
DAYS = ("2025-12-30", "2026-01-01", "2026-01-02", "2026-01-04")  # the clock begins with 2026


def seldom(times: int, mostly: st.SearchStrategy[Any], now_and_then: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """So many times as often the one as the other; `one_of` has no weights."""
    return st.integers(0, times).flatmap(lambda n: now_and_then if n == times else mostly)


def ref(*kinds: str) -> st.SearchStrategy[Any]:
    """A reference to one of these types; in one of FHIR's spellings, or none that can be followed."""
    name = st.one_of(*(_named(kind) for kind in kinds))
    plain = name.map(lambda name: {"reference": name})
    odd = st.one_of(
        name.map(lambda name: {"reference": f"https://example.org/fhir/{name}"}),
        name.map(lambda name: {"reference": f"{name}/_history/1", "display": "d"}),
        st.sampled_from([{"display": "Patient/p1"}, {"reference": "urn:uuid:1"}, {"reference": "#in"}]),
    )
    return seldom(4, plain, odd)


def _named(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from(PEOPLE if kind == "Patient" else NAMES).map(lambda ident: f"{kind}/{ident}")


def some(each: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(each, min_size=1, max_size=most)


def one(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


PATIENT, PRACTITIONER, ORGANIZATION = ref("Patient"), ref("Practitioner"), ref("Organization")
CODE = one(coding=some(st.sampled_from([{"code": "a"}, {"code": "a", "system": "s"}, {"code": "b", "system": "s"}])))
ANY = ref(*TYPES)
HUMAN = st.sampled_from(
    [[{"family": "Jones", "given": ["Ann"]}], [{"family": "Smith", "given": ["José"]}], [{"text": "Zoë"}]]
)
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what is always there, and what may be
    "Patient": (
        {},
        {
            "active": st.booleans(),
            "name": HUMAN,
            "gender": st.sampled_from(["male", "female"]),
            "birthDate": st.sampled_from(["1979-12-31", "1980", "1980-02", "2001-07-09"]),
            "generalPractitioner": some(PRACTITIONER),
            "managingOrganization": ORGANIZATION,
            "link": some(one(other=PATIENT)),
        },
    ),
    "Observation": (
        {
            "status": st.sampled_from(["final", "amended"]),
            "code": CODE,
            "subject": ref("Patient", "Patient", "Device", "Group"),
        },
        {
            "focus": some(ANY),
            "encounter": ref("Encounter"),
            "effectiveDateTime": st.sampled_from(["2020", "2020-05-05", "2021-05-05T10:00:00Z"]),
            "performer": some(ref("Patient", "Practitioner")),
            "valueQuantity": one(value=st.sampled_from([Decimal("1.50"), Decimal("2.5"), Decimal("10.0")])),
            "modifierExtension": st.just([{"url": "u", "valueReference": {"reference": "Medication/x1"}}]),
        },
    ),
    "Encounter": (
        {"status": st.sampled_from(["planned", "finished"]), "class": st.just({"code": "AMB"})},
        {
            "subject": PATIENT,
            "participant": some(one(individual=PRACTITIONER)),
            "location": some(one(location=ref("Location"))),
            "serviceProvider": ORGANIZATION,
        },
    ),
    "Condition": ({"subject": PATIENT}, {"clinicalStatus": CODE, "asserter": ref("Patient", "Practitioner")}),
    "AllergyIntolerance": ({"patient": PATIENT}, {"recorder": ref("Patient", "Practitioner"), "asserter": PATIENT}),
    "Appointment": (
        {
            "status": st.just("booked"),
            "participant": some(one(actor=ref("Patient", "Patient", "Practitioner", "Location")), 3),
        },
        {"description": st.just('é\\/"Patient/p1"')},
    ),
    "Device": ({}, {"patient": PATIENT, "owner": ORGANIZATION}),
    "Practitioner": ({}, {"name": HUMAN, "qualification": some(one(issuer=ORGANIZATION))}),
    "Organization": ({}, {"name": st.sampled_from(["Oak", "Elm"]), "partOf": ORGANIZATION}),
    "Location": ({}, {"name": st.sampled_from(["Oak", "Elm"]), "managingOrganization": ORGANIZATION}),
    "Medication": ({}, {"code": CODE, "manufacturer": ORGANIZATION}),
    "Group": (
        {"type": st.just("person"), "actual": st.just(True)},
        {
            "active": st.sampled_from([True, True, False]),
            "member": some(
                st.fixed_dictionaries(
                    {"entity": ref("Patient", "Patient", "Patient", "Group", "Device")},
                    optional={
                        "inactive": st.sampled_from([False, True]),
                        "period": st.fixed_dictionaries(
                            {}, optional={"start": st.sampled_from(DAYS), "end": st.sampled_from(DAYS)}
                        ),
                    },
                ),
                4,
            ),
        },
    ),
    "Provenance": (
        {
            "target": some(ref("Patient", "Observation", "Practitioner", "Encounter", "Group", "Appointment"), 3),
            "recorded": st.sampled_from(["2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]),
            "agent": some(one(who=PRACTITIONER), 1),
        },
        {"entity": some(one(role=st.just("source"), what=ref("Observation", "Device", "Provenance")), 1)},
    ),
}
UPDATED = ("2025-06-01T00:00:00Z", "2025-07-01T00:00:00.5Z")


def _resource(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    always, perhaps = FIELDS[kind]
    meta = st.fixed_dictionaries(
        {}, optional={"lastUpdated": st.sampled_from(UPDATED), "tag": st.just([{"system": "t", "code": "k"}])}
    )
    return st.fixed_dictionaries(
        {"resourceType": st.just(kind), "id": st.sampled_from(PEOPLE if kind == "Patient" else NAMES), **always},
        optional={"meta": meta, **perhaps},
    )


RESOURCE = st.one_of(
    *(_resource(kind) for kind in (*TYPES, "Patient", "Patient", "Group", "Observation", "Observation"))
)
GONE = st.sampled_from([(kind, ident) for kind in TYPES for ident in (PEOPLE if kind == "Patient" else NAMES)])
ROLL = st.builds(
    lambda ident, members: {
        "resourceType": "Group",
        "id": ident,
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": name}} for name in members],
    },
    st.sampled_from(NAMES),
    st.lists(
        st.sampled_from([*(f"Patient/{ident}" for ident in PEOPLE), "Group/x1", "Group/x2"]), max_size=4, unique=True
    ),
)
"""A Group as it is from now on: who is in it is plain."""
BATCH = st.lists(seldom(3, RESOURCE, GONE), min_size=1, max_size=6)
"""Changes at one instant: resources as JSON values, deletions as (type, id)."""


def encode(resource: Any) -> bytes:
    """Compact, decimals with their digits."""
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"), default=lambda value: f"\ue000{value}\ue001")
    return text.replace('"\ue000', "").replace('\ue001"', "").encode()


def _base() -> list[dict[str, Any]]:
    def to(name: str) -> dict[str, str]:
        return {"reference": name}

    a, b, s = (
        {"coding": [{"code": "a"}]},
        {"coding": [{"code": "b", "system": "s"}]},
        {"coding": [{"code": "a", "system": "s"}]},
    )
    members = (
        ["Patient/p1", "Patient/p2", "Patient/p9"],
        ["Patient/p3", "Group/x1"],
        ["Group/x2", "Group/x3", "Group/x9"],
    )
    made: dict[str, dict[str, Any]] = {
        "Organization/x1": {"name": "Oak", "partOf": to("Organization/x2")},
        "Organization/x2": {"name": "Elm", "partOf": to("Organization/x3")},
        "Organization/x3": {"name": "Oak"},
        "Practitioner/x1": {
            "name": [{"family": "Jones", "given": ["Ann"]}],
            "qualification": [{"issuer": to("Organization/x1")}],
        },
        "Practitioner/x2": {"name": [{"text": "Zoë"}]},
        "Location/x1": {"name": "Oak", "managingOrganization": to("Organization/x2")},
        "Medication/x1": {"code": a, "manufacturer": to("Organization/x3")},
        "Device/x1": {"patient": to("Patient/p1"), "owner": to("Organization/x1")},
        "Patient/p1": {
            "active": True,
            "gender": "male",
            "birthDate": "1980",
            "generalPractitioner": [to("Practitioner/x1")],
        },
        "Patient/p2": {
            "gender": "female",
            "name": [{"family": "Jones", "given": ["Ann"]}],
            "link": [{"other": to("Patient/p3")}],
        },
        "Patient/p3": {"gender": "female", "birthDate": "2001-07-09", "managingOrganization": to("Organization/x1")},
        "Patient/p4": {"active": False, "name": [{"family": "Smith", "given": ["José"]}]},
        "Encounter/x1": {
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": to("Patient/p1"),
            "location": [{"location": to("Location/x1")}],
        },
        "Encounter/x2": {"status": "planned", "class": {"code": "AMB"}, "subject": to("Patient/p3")},
        "Observation/x1": {
            "status": "final",
            "code": s,
            "subject": to("Patient/p1"),
            "encounter": to("Encounter/x1"),
            "valueQuantity": {"value": Decimal("1.50")},
            "performer": [to("Practitioner/x1")],
            "focus": [to("Condition/x2"), to("AllergyIntolerance/x1"), to("Provenance/x2")],
        },
        "Observation/x2": {
            "status": "amended",
            "code": b,
            "subject": to("Patient/p2"),
            "effectiveDateTime": "2020-05-05",
            "focus": [to("Medication/x1"), to("Encounter/x2")],
        },
        "Observation/x3": {"status": "final", "code": a, "subject": to("Device/x1"), "performer": [to("Patient/p4")]},
        "Condition/x1": {"subject": to("Patient/p2"), "asserter": to("Practitioner/x1")},
        "Condition/x2": {"subject": to("Patient/p4"), "asserter": to("Patient/p1")},
        "AllergyIntolerance/x1": {"patient": to("Patient/p3"), "recorder": to("Practitioner/x1")},
        "Appointment/x1": {
            "status": "booked",
            "participant": [{"actor": to(name)} for name in ("Patient/p1", "Patient/p3", "Location/x1")],
        },
        "Appointment/x2": {"status": "booked", "participant": [{"actor": to("Patient/p4")}]},
        "Provenance/x1": {"target": [to("Observation/x1"), to("Practitioner/x2")], "recorded": "2020-01-01T00:00:00Z"},
        "Provenance/x2": {"target": [to("Patient/p2"), to("Appointment/x1")], "recorded": "2021-01-01T00:00:00Z"},
        "Provenance/x3": {"target": [to("Observation/x1")], "recorded": "2021-01-01T00:00:00Z"},
    }
    for name, each in zip(NAMES, members, strict=True):
        made[f"Group/{name}"] = {"type": "person", "actual": True, "member": [{"entity": to(one)} for one in each]}
    for name, fields in made.items():
        if name.startswith("Provenance/"):
            fields["agent"] = [{"who": to("Practitioner/x2")}]
    return [dict(zip(("resourceType", "id"), name.split("/"), strict=True)) | fields for name, fields in made.items()]


BASE = seldom(4, st.just(_base()), st.just([]))
"""What is there at first: something of everything, mostly."""


# Filters


def _means(path: str, *wanted: str) -> Any:
    return lambda r: any(f"{kind}/{ident}" in wanted for kind, ident in literals(r, path))


def _fold(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()


def _words(r: Any) -> list[str]:
    names = r.get("name", [])
    names = [{"text": names}] if isinstance(names, str) else names
    return [word for name in names for word in (name.get("family"), *name.get("given", ()), name.get("text")) if word]


def _codes(r: Any) -> list[tuple[Any, str]]:
    return [(coding.get("system"), coding["code"]) for coding in r.get("code", {}).get("coding", [])]


FILTERS: Filters = {
    f"{kind}?{query}": (kind, test)
    for kind, query, test in (
        ("Patient", "gender=female", lambda r: r.get("gender") == "female"),
        ("Patient", "gender:not=female", lambda r: r.get("gender") != "female"),
        ("Patient", "birthdate=ge1980", lambda r: r.get("birthDate", "") >= "1980"),
        ("Patient", "birthdate=1980", lambda r: r.get("birthDate", "").startswith("1980")),
        ("Patient", "name=jo", lambda r: any(_fold(word).startswith("jo") for word in _words(r))),
        ("Patient", "name:contains=O", lambda r: any("o" in _fold(word) for word in _words(r))),
        ("Patient", "_id=p1,p3", lambda r: r["id"] in ("p1", "p3")),
        ("Patient", "active:missing=true", lambda r: "active" not in r),
        ("Patient", "active=true&gender=male", lambda r: r.get("active") is True and r.get("gender") == "male"),
        ("Observation", "status:not=final", lambda r: r["status"] != "final"),
        ("Observation", "code=s|a,s|b", lambda r: bool({("s", "a"), ("s", "b")} & set(_codes(r)))),
        ("Observation", "code=|a", lambda r: (None, "a") in _codes(r)),
        ("Observation", "subject=Patient/p1,Device/x1", _means("subject", "Patient/p1", "Device/x1")),
        ("Observation", "patient=p2", _means("subject", "Patient/p2")),
        ("Observation", "date=lt2021", lambda r: r.get("effectiveDateTime", "9") < "2021"),
        ("Observation", "date:missing=true", lambda r: "effectiveDateTime" not in r),
        ("Observation", "value-quantity=1.5", lambda r: r.get("valueQuantity", {}).get("value") == 1.5),
        ("Observation", "_lastUpdated=lt2026", lambda r: r["meta"]["lastUpdated"] < "2026"),
        (
            "Encounter",
            "status=finished&subject=Patient/p1",
            lambda r: r["status"] == "finished" and _means("subject", "Patient/p1")(r),
        ),
        ("Encounter", "service-provider:missing=true", lambda r: "serviceProvider" not in r),
        ("Condition", "asserter=Practitioner/x1", _means("asserter", "Practitioner/x1")),
        ("Practitioner", "name=ann", lambda r: any(_fold(word).startswith("ann") for word in _words(r))),
        ("Organization", "name=o", lambda r: r.get("name") == "Oak"),
        ("Provenance", "recorded=ge2021", lambda r: r["recorded"] >= "2021"),
    )
}
ELEMENTS = (
    "id",
    "name",
    "status",
    "subject",
    "performer",
    "participant",
    "Patient.gender",
    "Patient.managingOrganization",
    "Observation.value",
    "Observation.code",
    "Provenance.entity",
    "Encounter.location",
)
LATEST, RELEVANT = "LatestProvenanceResources", "RelevantProvenanceResources"
ASSOCIATED = ((), ("_deleted",), (LATEST,), (RELEVANT,), (LATEST, RELEVANT), (RELEVANT, "_deleted"))


@dataclass
class Ask:
    """An export that somebody wants; since is a place among a history's instants, until one from their end."""

    level: str
    group: str | None
    patients: tuple[str, ...] | None
    types: tuple[str, ...] | None
    filters: tuple[str, ...]
    elements: tuple[str, ...]
    associated: tuple[str, ...]
    referenced: tuple[str, ...] | None
    depth: int
    since: int | None
    until: int | None

    def fields(self) -> dict[str, Any]:
        """Of an ExportRequest, without instants and patients."""
        return {
            "level": self.level,
            "group_id": self.group,
            "types": self.types,
            "type_filters": self.filters,
            "elements": self.elements,
            "include_associated_data": self.associated,
            "include_referenced": self.referenced,
            "reference_depth": self.depth,
        }


@st.composite
def asks(draw: st.DrawFn, *, chained: bool = False) -> Ask:
    """chained: without bounds, and with what the exports of a chain come together to."""
    level = draw(st.sampled_from(["system", "patient", "group", "group"] + ["group"] * 3 * chained))
    group = draw(st.sampled_from(NAMES[:2] if chained else NAMES)) if level == "group" else None
    patients = None
    if level != "system":
        who = st.sampled_from(PEOPLE if level == "patient" else PEOPLE[:2])
        patients = draw(seldom(2, st.none(), st.lists(who, min_size=1, max_size=3, unique=True).map(tuple)))
    types = draw(st.none() | st.sets(st.sampled_from(TYPES), min_size=1, max_size=5))
    if types is not None and level != "system":
        types |= {draw(st.sampled_from(["Patient", "Observation"]))}  # something that can be a patient's
    kinds = [kind for kind in TYPES if kind != "Group" or level == "system"]
    referenced = draw(st.none() | st.lists(st.sampled_from(kinds), max_size=5, unique=True).map(tuple))
    chosen = None if types is None else types.union(referenced or ())
    filters = [text for text, (kind, _) in FILTERS.items() if chosen and kind in chosen]
    elements = [text for text in ELEMENTS if "." not in text or chosen is None or text.partition(".")[0] in chosen]
    associated = draw(st.sampled_from(ASSOCIATED[:2] if chained else ASSOCIATED))
    since = st.integers(0, 9).map(lambda n: n if n < 7 else None) if not chained else st.none()
    until = seldom(2, st.none(), st.integers(0, 2)) if not chained else st.none()
    return Ask(
        level,
        group,
        patients,
        None if types is None else tuple(sorted(types)),
        tuple(sorted(draw(st.sets(st.sampled_from(filters), max_size=3)))) if filters else (),
        tuple(sorted(draw(st.sets(st.sampled_from(elements), max_size=2)))) if draw(st.booleans()) else (),
        associated,
        referenced,
        draw(st.integers(1, 3)),
        draw(since),
        draw(until),
    )
