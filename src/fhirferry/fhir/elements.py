"""`_elements`: resources with fewer root elements, and marked as such (B35-B38).

Theory of operation. One shallow decode cuts the root into raw members; those that stay are joined again as they were.
Nothing below the root is read or written but `meta`, so digits, order and spelling stay. Names that stay are known
before the first resource: those asked for, what FHIR makes mandatory, what changes the meaning of the rest (modifier
elements), `resourceType`, `id`, `meta`, and to each of them its `_name`, which holds extensions of a primitive value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import final

import msgspec

from fhirferry.fhir.definitions import Definitions, nearest
from fhirferry.fhir.problems import Problem, RequestProblems
from fhirferry.model.errors import RequestError

PARAMETER = "_elements"
SUBSETTED = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
ALWAYS = ("resourceType", "id", "meta")

Selector = Callable[[bytes | memoryview], bytes]
_Members = dict[str, msgspec.Raw]

_members = msgspec.json.Decoder(_Members).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode
_TAGGED = msgspec.Raw(b"[" + SUBSETTED + b"]")


class _Coding(msgspec.Struct):
    system: object = None
    code: object = None


_coding = msgspec.json.Decoder(_Coding).decode


@final
class Elements(msgspec.Struct, frozen=True):
    """What to keep. everywhere: element names that apply to every type. by_type: those of one type.

    Both hold names without `[x]`, and a choice's JSON name (`valueQuantity`) where just that was asked for.
    """

    everywhere: frozenset[str]
    by_type: dict[str, frozenset[str]]

    @property
    def texts(self) -> tuple[str, ...]:
        """Canonical: equal selections have equal texts."""
        own = (f"{kind}.{name}" for kind, names in self.by_type.items() for name in names)
        return tuple(sorted({*self.everywhere, *own}))

    def names(self, kind: str, definitions: Definitions) -> frozenset[str] | None:
        """JSON names of the root members that stay; None where resources of this type stay whole."""
        if not self.everywhere and kind not in self.by_type:
            return None
        asked = self.everywhere | self.by_type.get(kind, frozenset())
        kept = set(ALWAYS)
        for element in definitions.elements(kind):
            if element.mandatory or element.modifier or element.name in asked:
                kept.update(element.members)
            else:
                kept.update(asked.intersection(element.members))
        return frozenset(kept | {f"_{name}" for name in kept})

    def selector(self, kind: str, definitions: Definitions) -> Selector | None:
        """A function from a resource of this type to its smaller self, one line; None where they stay whole."""
        names = self.names(kind, definitions)
        return None if names is None else lambda resource: select(resource, names)


def read_elements(texts: Iterable[str], definitions: Definitions) -> Elements:
    """Of the values of `_elements`: lists of `element` or `Type.element`. RequestProblems with all that is wrong."""
    everywhere: set[str] = set()
    by_type: dict[str, set[str]] = {}
    problems = []
    for text in [part.strip() for value in texts for part in value.split(",")]:
        try:
            kind, name = _read(text, definitions)
        except (RequestError, ValueError) as error:
            problems.append(Problem(PARAMETER, text, str(error)))
        else:
            (by_type.setdefault(kind, set()) if kind else everywhere).add(name)
    if problems:
        raise RequestProblems(problems)
    return Elements(frozenset(everywhere), {kind: frozenset(by_type[kind]) for kind in sorted(by_type)})


def select(resource: bytes | memoryview, names: frozenset[str]) -> bytes:
    """The resource with only these root members, tagged SUBSETTED, compact at the root and without a newline.

    Raises msgspec.MsgspecError for bytes that are no JSON object, or whose `meta` is none.
    """
    members = _members(resource)
    kept = {name: value for name, value in members.items() if name in names}
    meta = kept.get("meta")
    if meta is not None:
        kept["meta"] = _tagged(meta)
        return _encode(kept)
    first = {name: kept.pop(name) for name in ("resourceType", "id") if name in kept}
    return _encode({**first, "meta": {"tag": _TAGGED}, **kept})


def _tagged(meta: msgspec.Raw) -> msgspec.Raw:
    raw = bytes(meta)
    if b'"tag"' not in raw and b"\\" not in raw and b":" in raw and raw.startswith(b"{"):
        return msgspec.Raw(b'%s,"tag":[%s]}' % (raw[:-1], SUBSETTED))
    members = _members(meta)
    tags = _raws(members["tag"]) if "tag" in members else []
    if any(_is_subsetted(tag) for tag in tags):
        return meta
    members["tag"] = msgspec.Raw(_encode([*tags, msgspec.Raw(SUBSETTED)]))
    return msgspec.Raw(_encode(members))


def _is_subsetted(tag: msgspec.Raw) -> bool:
    try:
        coding = _coding(tag)
    except msgspec.ValidationError:
        return False
    return coding.code == "SUBSETTED" and coding.system == "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


def _read(text: str, definitions: Definitions) -> tuple[str, str]:
    kind, dot, name = text.rpartition(".")
    if "." in kind or not name or (dot and not kind):
        raise ValueError("is no root element; write element or Type.element, like birthDate or Patient.birthDate")
    if kind:
        definitions.check_type(kind)
    plain = name.removesuffix("[x]")
    elements = [element for one in ([kind] if kind else definitions.types) for element in definitions.elements(one)]
    known = {name for element in elements for name in (element.name, *element.members)}
    if plain not in known:
        raise ValueError(
            f"{kind or 'no resource type'} has {'no ' * bool(kind)}root element {name!r}{nearest(name, known)}"
        )
    return kind, plain
