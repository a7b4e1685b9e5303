"""Numbers and quantities by the search page's examples, https://hl7.org/fhir/R4/search.html#number and #quantity."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.search.numbers import compare, number_value, quantity_ends

from .conftest import Finds

UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("search", "low", "high"),
    [
        ("100", "99.5", "100.5"),
        ("100.00", "99.995", "100.005"),
        ("1e2", "95", "105"),
        ("1.00e2", "99.5", "100.5"),
        ("5.4", "5.35", "5.45"),
        ("5.40e-3", "0.005395", "0.005405"),
        ("2.0", "1.95", "2.05"),
        ("-2.0", "-2.05", "-1.95"),
        ("0", "-0.5", "0.5"),
    ],
)
def test_a_number_stands_for_all_that_rounds_to_it(finds: Finds, search: str, low: str, high: str) -> None:
    def hit(prefix: str, value: str) -> bool:
        return finds(f"RiskAssessment?probability={prefix}{search}", prediction=[{"probabilityDecimal": f"§{value}§"}])

    for prefix in ("", "eq"):
        assert hit(prefix, low)
        assert not hit(prefix, high)
        assert hit(prefix, str(Decimal(high) - Decimal("1e-20")))
        assert not hit(prefix, str(Decimal(low) - Decimal("1e-20")))
    assert hit("ne", high)
    assert not hit("ne", low)


@pytest.mark.parametrize(
    ("search", "value", "found"),
    [
        ("lt100", "99.999999999999999999", True),
        ("lt100", "100", False),
        ("le100", "100", True),
        ("le100", "100.000000000000000001", False),
        ("gt100", "100", False),
        ("gt100", "100.000000000000000001", True),
        ("ge100", "100.00", True),
        ("ge100", "99.7", False),
        ("sa100", "100", False),
        ("sa100", "100.1", True),
        ("eb100", "99.9", True),
        ("ap100", "91", True),
        ("ap100", "89", False),
        ("gt8e-1", "0.81", True),
    ],
)
def test_with_a_comparing_prefix_a_number_is_exact(finds: Finds, search: str, value: str, found: bool) -> None:
    hit = finds(f"RiskAssessment?probability={search}", prediction=[{"probabilityDecimal": f"§{value}§"}])
    assert hit is found


def test_integers_match_exactly(finds: Finds) -> None:
    assert finds("MolecularSequence?variant-start=2", variant=[{"start": 2}])
    assert finds("MolecularSequence?variant-start=1,2", variant=[{"start": 2}])
    assert finds("MolecularSequence?variant-start=2.0", variant=[{"start": 2}])
    assert not finds("MolecularSequence?variant-start=2.5", variant=[{"start": 2}])
    assert not finds("MolecularSequence?variant-start=2.5", variant=[{"start": 3}])
    assert not finds("MolecularSequence?variant-start=1", variant=[{"start": True}])


def test_ranges_have_open_ends(finds: Finds) -> None:
    def hit(search: str, **ends: int) -> bool:
        value = {name: {"value": end} for name, end in ends.items()}
        return finds(f"RiskAssessment?probability={search}", prediction=[{"probabilityRange": value}])

    assert hit("gt5", low=1)
    assert hit("lt5", low=1)
    assert hit("eq5", low=5, high=5)
    assert not hit("eq5", low=5, high=6)
    assert hit("sa5", low=6)
    assert not hit("sa5", high=6)
    assert not hit("gt5")


def quantity(value: str, **more: str) -> dict[str, str]:
    return {"value": f"§{value}§", **more}


@pytest.mark.parametrize(
    ("search", "value", "found"),
    [
        (f"5.4|{UCUM}|mg", quantity("5.44", system=UCUM, code="mg"), True),
        (f"5.4|{UCUM}|mg", quantity("5.45", system=UCUM, code="mg"), False),
        (f"5.4|{UCUM}|mg", quantity("5.4", system=UCUM, code="g"), False),
        (f"5.4|{UCUM}|mg", quantity("5.4", unit="mg"), False),
        (f"5.40e-3|{UCUM}|g", quantity("0.0054", system=UCUM, code="g"), True),
        (f"5.40e-3|{UCUM}|g", quantity("0.00541", system=UCUM, code="g"), False),
        ("5.4||mg", quantity("5.4", unit="mg"), True),
        ("5.4||mg", quantity("5.4", system="http://other", code="mg"), True),
        ("5.4||mg", quantity("5.4", unit="mmol"), False),
        ("5.4", quantity("5.4", unit="mmol"), True),
        (f"le5.4|{UCUM}|mg", quantity("5.40", system=UCUM, code="mg"), True),
        (f"le5.4|{UCUM}|mg", quantity("5.401", system=UCUM, code="mg"), False),
        (f"ap5.4|{UCUM}|mg", quantity("5.0", system=UCUM, code="mg"), True),
        (f"ap5.4|{UCUM}|mg", quantity("4.8", system=UCUM, code="mg"), False),
        # A comparator in the value opens one side.
        ("lt5", quantity("5", comparator="<"), True),
        ("ge5", quantity("5", comparator="<"), False),
        ("ge5", quantity("5", comparator="<="), True),
        ("gt5", quantity("5", comparator="<="), False),
        ("gt9", quantity("5", comparator=">"), True),
        ("gt5", quantity("5", comparator=">"), True),
        ("lt5", quantity("5", comparator=">="), False),
        ("le5", quantity("5", comparator=">"), False),
        ("le5", quantity("5", comparator=">="), True),
        ("eq5", quantity("5", comparator=">="), False),
    ],
)
def test_quantities(finds: Finds, search: str, value: dict[str, str], found: bool) -> None:
    assert finds(f"Observation?value-quantity={search}", valueQuantity=value) is found


def test_any_of_several_quantities_and_all_of_several_parameters(finds: Finds) -> None:
    search = "Observation?value-quantity=5||mg,6||g&status=final"
    assert finds(search, valueQuantity=quantity("6.1", unit="g"), status="final")
    assert not finds(search, valueQuantity=quantity("6.1", unit="mg"), status="final")
    assert not finds(search, valueQuantity=quantity("6.1", unit="g"), status="draft")


def test_the_unit_of_a_range_is_that_of_its_ends(finds: Finds) -> None:
    def hit(search: str, **ends: object) -> bool:
        return finds(f"ValueSet?context-quantity={search}", useContext=[{"valueRange": ends}])

    assert hit("gt5||a", low={"value": 6, "unit": "a"})
    assert not hit("gt5||a", low={"value": 6, "unit": "mo"})
    assert not hit("gt5||a", low={"value": 6, "unit": "a"}, high={"value": 9, "unit": "mo"})


def test_a_quantity_without_a_number_is_no_value(finds: Finds) -> None:
    for odd in ({"unit": "mg"}, {"value": "5"}, "5", 5, None, {"value": True}):
        for search in ("5", "ne5", "lt9", "5||mg"):
            assert not finds(f"Observation?value-quantity={search}", valueQuantity=odd)


def test_money_is_found_by_its_currency(finds: Finds) -> None:
    price = {"value": 12, "currency": "EUR"}
    assert finds("Invoice?totalnet=12||EUR", totalNet=price)
    assert finds("Invoice?totalnet=12|urn:iso:std:iso:4217|EUR", totalNet=price)
    assert not finds("Invoice?totalnet=12||USD", totalNet=price)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.decimals(-1000, 1000, places=2))
def test_equal_or_less_or_greater(value: Decimal, wanted: Decimal) -> None:
    ends = quantity_ends({"value": value})
    assert ends is not None
    is_ = {}
    for prefix in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"):
        number = number_value(prefix, str(wanted))
        assert number is not None
        is_[prefix] = compare(number)(ends)
    assert is_["ne"] is not is_["eq"]
    assert [is_["gt"], is_["lt"], value == wanted].count(True) == 1
    assert is_["ge"] is not is_["lt"]
    assert is_["le"] is not is_["gt"]
    assert is_["eq"] <= is_["ap"]
