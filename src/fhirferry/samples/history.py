"""One patient's whole record: a pure function of the world and the patient's index."""

from __future__ import annotations

from fhirferry.samples import care, codes
from fhirferry.samples.documents import add_note, add_provenance
from fhirferry.samples.financial import add_claims
from fhirferry.samples.fragments import Lines
from fhirferry.samples.measures import PANELS
from fhirferry.samples.observations import add_count, add_dipstick, add_panel, add_smoking, add_vitals
from fhirferry.samples.people import add_coverage, add_patient, make_person
from fhirferry.samples.plans import add_plan
from fhirferry.samples.procedures import add_procedure
from fhirferry.samples.providers import World
from fhirferry.samples.visits import (
    CALL,
    CHECK_UP,
    EMERGENCY,
    STAY,
    Visit,
    add_encounter,
    chronic_problems,
    open_visit,
    plan_visits,
)

COUNTED_EVERY = 40
"""Patients; the first one has such a number too."""
_PANELS = list(PANELS.values())


def add_record(world: World, index: int, out: Lines) -> None:
    """All resources of patient `index`, added to `out`."""
    person = make_person(world, index)
    add_patient(person, out)
    add_coverage(person, world, out)
    dice = person.dice
    problems = chronic_problems(person)
    known: list[tuple[codes.Problem, bytes]] = []
    habit = dice.pick((0, 0, 0, 1, 2))
    allergic = dice.chance(25)
    visits = plan_visits(person, len(problems)) or [(person.ended - 10, CHECK_UP)]
    for number, (day, kind) in enumerate(visits):
        visit = open_visit(person, day, kind, out)
        while problems and problems[0][0] <= day and kind is not CALL:
            began, problem = problems.pop(0)
            found = care.add_condition(visit, problem, began=began, lasts=None)
            known.append((problem, found))
            if len(known) in (1, 4):
                add_plan(visit, problem, found)
        if number == 0:
            if allergic:
                care.add_allergies(visit)
            if index % COUNTED_EVERY == 0:
                add_count(visit)
        _happens(visit, world, known, habit, last=number == len(visits) - 1)
        add_encounter(visit)
        add_claims(visit)
        if dice.chance(25):
            add_provenance(visit)


def _happens(visit: Visit, world: World, known: list[tuple[codes.Problem, bytes]], habit: int, *, last: bool) -> None:
    """What this kind of visit brings."""
    dice, kind, age = visit.dice, visit.kind, visit.person.age(visit.day)
    panel = dice.pick(known)[0].panel if known and dice.chance(60) else ""
    if kind is CHECK_UP:
        care.add_immunizations(visit)
        if age > 15 and dice.chance(50):
            add_smoking(visit, habit)
        if dice.chance(30):
            add_procedure(visit, dice.pick([each for each in codes.OFFICE if _suits(each, visit.person.woman, age)]))
    elif kind in (EMERGENCY, STAY):
        problem = dice.pick([each for each in codes.SEVERE if age >= each.onset])
        _falls_ill(visit, world, problem)
        for service in problem.services:
            add_procedure(visit, codes.HOSPITAL[service])
        panel = problem.panel
    elif dice.chance(80):
        _falls_ill(visit, world, dice.pick(codes.ACUTE))
    if kind is not CALL:
        add_vitals(visit, hypertension=any(problem.panel == "BMP" for problem, _ in known))
        if dice.chance(38):
            add_panel(visit, PANELS[panel] if panel else dice.pick(_PANELS))
        if dice.chance(8):
            add_dipstick(visit)
    for problem, condition in known:
        if problem.drugs and dice.chance(24):
            care.add_prescription(visit, world, dice.pick(problem.drugs), condition, active=last)
    if kind is STAY:
        for day in range(visit.length // 1440):
            add_panel(visit, dice.pick(_PANELS), after=day * 1440 + 60)
    if kind is STAY or dice.chance(38):
        add_note(visit)


def _suits(service: codes.Service, woman: bool, age: int) -> bool:
    return age >= service.since and (woman or not service.women)


def _falls_ill(visit: Visit, world: World, problem: codes.Problem) -> None:
    """An illness that passes, and something against it."""
    dice = visit.dice
    found = care.add_condition(visit, problem, began=visit.day - dice.below(5), lasts=dice.between(5, 40))
    if problem.drugs and dice.chance(60):
        care.add_prescription(visit, world, dice.pick(problem.drugs), found, active=False)
