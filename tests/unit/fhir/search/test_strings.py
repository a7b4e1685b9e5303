"""Strings and URIs by the search page's examples, https://hl7.org/fhir/R4/search.html#string and #uri."""

from __future__ import annotations

import pytest

from fhirferry.fhir.search.strings import fold

from .conftest import Finds


@pytest.mark.parametrize(
    ("search", "given", "found"),
    [
        ("given=eve", "Eve", True),
        ("given=eve", "Evelyn", True),
        ("given=eve", "Severine", False),
        ("given:contains=eve", "Eve", True),
        ("given:contains=eve", "Evelyn", True),
        ("given:contains=eve", "Severine", True),
        ("given:exact=Eve", "Eve", True),
        ("given:exact=Eve", "eve", False),
        ("given:exact=Eve", "EVE", False),
        ("given:exact=Eve", "Evelyn", False),
        ("name=eve", "Evelyn", True),
        ("given:missing=false", "Eve", True),
        ("given:missing=true", "Eve", False),
    ],
)
def test_the_search_pages_examples(finds: Finds, search: str, given: str, found: bool) -> None:
    assert finds(f"Patient?{search}", name=[{"family": "X"}, {"given": [None, given]}]) is found


@pytest.mark.parametrize("family", ["Son", "Sonder", "Erikson", "Samsonite"])
def test_contains(finds: Finds, family: str) -> None:
    assert finds("Patient?family:contains=son", name=[{"family": family}])
    assert finds("Patient?family:exact=Son", name=[{"family": family}]) is (family == "Son")


def test_the_parts_of_a_family_name_are_found_by_themselves(finds: Finds) -> None:
    for search in ("Carreno", "Quinones", "carreño quin"):
        assert finds(f"Patient?family={search}", name=[{"family": "Carreño Quiñones"}])
        assert finds(f"Patient?name={search}", name=[{"family": "Carreño Quiñones"}])
    assert not finds("Patient?family=nones", name=[{"family": "Carreño Quiñones"}])
    for search in ("given=ann", "name=ann"):
        assert not finds(f"Patient?{search}", name=[{"given": ["Mary Ann"]}])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("García", "garcia"),
        ("GARCI\u0301A", "garcia"),
        ("Müller-Lüdenscheidt", "mullerludenscheidt"),
        ("Straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("O'Brien", "OBrien"),
        ("a  b\tc", "a b c"),
        ("ＦＵＬＬ", "full"),
        ("“quoted”", "quoted"),
    ],
)
def test_case_accents_punctuation_and_spaces_do_not_count(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_names_and_addresses_are_looked_at_in_all_their_texts(finds: Finds) -> None:
    for part in ({"family": "Q"}, {"given": ["x", "Q"]}, {"prefix": ["Q"]}, {"suffix": ["Q"]}, {"text": "Q"}):
        assert finds("Patient?name=q", name=[part])
    for part in ("line", "city", "district", "state", "postalCode", "country", "text"):
        assert finds("Patient?address=q", address=[{part: ["Q"] if part == "line" else "Q"}])
    assert not finds("Patient?address=home", address=[{"use": "home"}])
    assert finds("Patient?address-city=ann", address=[{"city": "Ann Arbor"}])


def test_a_plus_is_a_space_in_strings_only(finds: Finds) -> None:
    assert finds("Patient?family=van+der", name=[{"family": "van der Berg"}])
    assert finds("Patient?family=van%20der", name=[{"family": "van der Berg"}])


def test_wrong_shapes_are_no_values(finds: Finds) -> None:
    for name in ("Eve", [["Eve"]], [{"given": 3}], {"given": {"x": "Eve"}}, 7, None):
        assert not finds("Patient?given=eve", name=name)


def test_uris_match_whole_and_exactly(finds: Finds) -> None:
    url = "http://acme.org/fhir/ValueSet/123"
    assert finds(f"ValueSet?url={url}", url=url)
    assert not finds(f"ValueSet?url={url}", url=url.upper())
    assert not finds("ValueSet?url=http://acme.org/fhir", url=url)
    assert finds("ValueSet?url=urn:oid:1.2.3.4.5", url="urn:oid:1.2.3.4.5")
    assert finds("Patient?_source=http://a#1", meta={"source": "http://a#1"})


def test_a_profile_is_found_with_and_without_its_version(finds: Finds) -> None:
    meta = {"profile": ["http://p|1.0"]}
    assert finds("Patient?_profile=http://p", meta=meta)
    assert finds("Patient?_profile=http://p|1.0", meta=meta)
    assert not finds("Patient?_profile=http://p|2.0", meta=meta)
    assert not finds("Patient?_profile=http://p|1.0", meta={"profile": ["http://p"]})
