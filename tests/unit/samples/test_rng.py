"""Chance repeats everywhere, and ids are each there once."""

from __future__ import annotations

import re

from fhirferry.samples.rng import Dice, Ids, patient_id, shared_id


def test_dice_throw_the_same_on_every_python() -> None:
    dice = Dice(7, "Patient", 0)
    throws = [dice.below(1000), dice.between(1, 6), dice.bell(0, 100), dice.chance(50), dice.pick("abc"), dice.noise(4)]
    assert throws == [256, 2, 73, False, "a", b"\x9c|~ "]


def test_dice_keep_their_bounds() -> None:
    dice = Dice("bounds")
    assert {dice.between(1, 6) for _ in range(500)} == {1, 2, 3, 4, 5, 6}
    assert {dice.below(3) for _ in range(200)} == {0, 1, 2}
    assert all(10 <= dice.bell(10, 20) <= 20 for _ in range(500))
    assert not any(dice.chance(0) for _ in range(100))
    assert all(dice.chance(100) for _ in range(100))


def test_ids_look_like_uuids_and_are_there_once() -> None:
    owners = [Ids(7, "Patient", index) for index in range(200)]
    found = [ids() for ids in owners for _ in range(50)]
    assert len(set(found)) == len(found)
    form = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(ident) for ident in found)


def test_ids_of_shared_resources_are_never_a_patients() -> None:
    assert {shared_id(7, "Device", n)[19:20] for n in range(50)} == {b"b"}
    assert {patient_id(7, n)[19:20] for n in range(50)} == {b"a"}


def test_another_seed_has_other_ids() -> None:
    assert not {patient_id(1, n) for n in range(500)} & {patient_id(2, n) for n in range(500)}
