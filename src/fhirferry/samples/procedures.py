"""What is done: procedures, and the devices that some leave in the body."""

from __future__ import annotations

from fhirferry.samples import days
from fhirferry.samples.codes import Service
from fhirferry.samples.fragments import PROFILE, coding, concept, meta, quoted
from fhirferry.samples.visits import Visit

_PROCEDURE = (
    b'{"resourceType":"Procedure","id":"%b",'
    + meta(PROFILE + "procedure")
    + b',"status":"completed","code":%b,"subject":%b,"encounter":%b,"performedPeriod":{"start":"%b","end":"%b"},"performer":'
    b'[{"actor":%b,"onBehalfOf":%b}],"location":%b%b}\n'
)
_IMPLANT = (
    b'{"resourceType":"Device","id":"%b",'
    + meta(PROFILE + "implantable-device")
    + b',"udiCarrier":[{"deviceIdentifier":"%014d","carrierHRF":"(01)%014d(17)%b(10)%d(21)%d"}],"status":"active",'
    b'"distinctIdentifier":"%014d","manufacturer":"Fictitious Implants","manufactureDate":"%b","expirationDate":"%b","lotNumber":'
    b'"%d","serialNumber":"%d","deviceName":[{"name":%b,"type":"user-friendly-name"}],"type":%b,"patient":%b}\n'
)
_IMPLANTED = concept(coding("http://hl7.org/fhir/device-action", "implanted", "Implanted"))


def add_procedure(visit: Visit, service: Service) -> None:
    """Something done; what is implanted becomes a Device."""
    dice = visit.dice
    reasons = b',"reasonReference":[%b]' % next(iter(visit.reasons)) if visit.reasons else b""
    if service.implant:
        reasons += b',"focalDevice":[{"action":%b,"manipulated":%b}]' % (_IMPLANTED, _add_implant(visit, service))
    begin = dice.between(5, max(6, visit.length - 40))
    visit.add(
        "Procedure",
        _PROCEDURE,
        service.code,
        visit.person.ref,
        visit.ref,
        visit.at(begin),
        visit.at(begin + dice.between(3, 30)),
        visit.provider.practitioner,
        visit.person.clinic.organization,
        visit.place,
        reasons,
    )
    visit.bill.append((service.billing, service.cents + dice.between(-50, 50) * 10))


def _add_implant(visit: Visit, service: Service) -> bytes:
    dice = visit.dice
    article, lot, serial = dice.below(10**14), dice.below(10**7), dice.below(10**9)
    made, until = visit.day - dice.between(20, 300), visit.day + 9_000
    expires = days.date(until).replace(b"-", b"")[2:]
    return visit.add(
        "Device",
        _IMPLANT,
        article,
        article,
        expires,
        lot,
        serial,
        article,
        days.date(made),
        days.date(until),
        lot,
        serial,
        quoted("Implant: " + service.name.lower()),
        service.implant,
        visit.person.ref,
    )
