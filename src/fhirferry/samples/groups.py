"""Groups of every kind that an export by group meets: large, small, empty, nested, with members who left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhirferry.samples import days
from fhirferry.samples.fragments import quoted
from fhirferry.samples.providers import World
from fhirferry.samples.rng import Dice, patient_id

AT_MOST = 50_000
"""Members of one Group (3 MB). More patients make a Group of Groups."""

_GROUP = (
    b'{"resourceType":"Group","id":"%b","meta":{"versionId":"%d","lastUpdated":"%b"},"active":true,"type":"%b","actual":true,'
    b'"code":{"text":%b},"name":%b,"quantity":%d,"managingEntity":%b%b}\n'
)
_PATIENT = b'{"entity":{"reference":"Patient/%b"}}'
_LEFT = b'{"entity":{"reference":"Patient/%b"},"period":{"start":"%b","end":"%b"},"inactive":true}'
_STAYS = b'{"entity":{"reference":"Patient/%b"},"period":{"start":"%b"},"inactive":false}'
_NESTED = b'{"entity":{"reference":"Group/%b"}}'


def group_id(seed: int, name: str) -> bytes:
    """An id to type: `everybody-7`."""
    return b"%b-%d" % (name.encode(), seed)


def make_groups(world: World, patients: int) -> Iterator[bytes]:
    """The Groups of a set of so many patients, one line each."""
    seed = world.seed

    def people(indexes: Iterable[int]) -> list[bytes]:
        return [_PATIENT % patient_id(seed, index) for index in indexes]

    def nested(*names: str) -> list[bytes]:
        return [_NESTED % group_id(seed, name) for name in names]

    def group(name: str, text: str, members: list[bytes], kind: bytes = b"person") -> bytes:
        return make_group(world, group_id(seed, name), text, members, kind)

    if patients <= AT_MOST:
        yield group("everybody", "All patients", people(range(patients)))
    else:
        pieces = range(0, patients, AT_MOST)
        for start in pieces:
            chosen = range(start, min(start + AT_MOST, patients))
            yield group(f"from-{start + 1}", f"Patients {start + 1:,} to {chosen[-1] + 1:,}", people(chosen))
        yield group("everybody", "All patients, in groups", nested(*(f"from-{start + 1}" for start in pieces)))
    yield group("one", "A single patient", people([patients // 2]))
    yield group("handful", "A handful of patients", people(range(min(5, patients))))
    tenth = range(0, patients, max(10, patients // AT_MOST + 1))
    yield group("tenth", "Some patients; some have left", _with_periods(seed, tenth))
    yield group("former", "All have left", _with_periods(seed, range(min(20, patients)), percent=100))
    yield group("nobody", "Nobody yet", [])
    yield group("nested", "Groups in a group", nested("handful", "tenth", "nobody"))
    yield group("deeper", "A group in a group in a group", nested("nested") + people([patients - 1]))
    carers = [b'{"entity":%b}' % clinic.providers[0].practitioner for clinic in world.clinics[:50]]
    yield group("carers", "Heads of practice", carers, b"practitioner")


def make_group(world: World, ident: bytes, text: str, members: list[bytes], kind: bytes = b"person") -> bytes:
    """One Group; members as JSON."""
    dice = Dice(world.seed, "Group", ident)
    updated = days.instant(days.END - dice.between(1, 2_000), dice.below(1 << 40))
    listed = b',"member":[%b]' % b",".join(members) if members else b""  # FHIR knows no empty lists
    return _GROUP % (
        ident,
        dice.between(1, 9),
        updated,
        kind,
        quoted("Cohort"),
        quoted(text),
        len(members),
        world.clinics[0].organization,
        listed,
    )


def _with_periods(seed: int, indexes: Iterable[int], percent: int = 30) -> list[bytes]:
    dice = Dice(seed, "members", percent)
    found = []
    for index in indexes:
        start = days.END - dice.between(800, 3_000)
        if dice.chance(percent):
            end = days.date(start + dice.between(30, 700))
            found.append(_LEFT % (patient_id(seed, index), days.date(start), end))
        else:
            found.append(_STAYS % (patient_id(seed, index), days.date(start)))
    return found
