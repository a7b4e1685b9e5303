"""A page, line by line: what passes the filters, cut to its elements; issues for what cannot be judged."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.partition import BLOCKS, Block, Issue, Kind, Page, PartitionPlan
from fhirferry.model.request import ExportRequest

if TYPE_CHECKING:
    from fhirferry.fhir.elements import Selector
    from fhirferry.fhir.search.matching import Matcher

Transform = Callable[[Page], Page]

_WHAT = ("types", "include_referenced", "type_filters", "elements", "handling", "release")
"""Fields that say what happens to a page; who is meant, and since when, is the source's affair."""

UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_head = re.compile(rb'\{"resourceType":"([A-Z][A-Za-z]{0,63})","id":"([A-Za-z0-9\-.]{1,64})"').match


class _Typed(msgspec.Struct):
    resourceType: str  # noqa: N815 - FHIR's name


_typed = msgspec.json.Decoder(_Typed).decode


def transform_for(request: ExportRequest, plan: PartitionPlan) -> Transform | None:
    """What happens to the pages of a partition; None where they pass as they are. RequestProblems.

    Each version is judged by itself. Deletions always pass: to tell of one too many is safe, of one too few is not. In
    organised output each line is judged by its own type. Compiled once in a process: functions don't travel to others.
    """
    if plan.kind not in (Kind.OUTPUT, Kind.HISTORY) or not request.selective:
        return None
    asked = ExportRequest(**{field: getattr(request, field) for field in _WHAT})
    if plan.resource_type == BLOCKS:
        return partial(_of_blocks, asked)
    matches, cut = _compiled(asked, plan.resource_type)
    return None if matches is None and cut is None else partial(_transformed, plan.resource_type, matches, cut)


@lru_cache(maxsize=256)
def _compiled(request: ExportRequest, kind: str) -> tuple[Matcher | None, Selector | None]:
    from fhirferry.fhir.definitions import RELEASES, load  # most exports need nothing of what FHIR says about types
    from fhirferry.transforms.elements import selector
    from fhirferry.transforms.filter import matcher

    definitions = load(request.release)
    known = next((each for each in map(load, (request.release, *RELEASES)) if kind in each.types), None)
    return matcher(request, kind, definitions), selector(request, kind, definitions, known)


def _transformed(kind: str, matches: Matcher | None, cut: Selector | None, page: Page) -> Page:
    kept: list[bytes] = []
    issues = list(page.issues)
    lines = page.body.split(b"\n")
    lines.pop()  # behind the last newline is nothing
    for line in lines:
        try:
            if matches is None or matches(line):
                kept.append(line if cut is None else cut(line))
        except UNREADABLE:  # what cannot be judged does not go out (L34)
            issues.append(_unreadable(line, kind))
    if cut is None and len(kept) == len(lines):
        return page
    kept.append(b"")
    return msgspec.structs.replace(page, body=b"\n".join(kept), count=len(kept) - 1, issues=tuple(issues))


def _of_blocks(request: ExportRequest, page: Page) -> Page:
    """A block of which nothing is left is none any more."""
    kept: list[bytes] = []
    blocks: list[Block] = []
    issues = list(page.issues)
    lines = iter(page.body.split(b"\n"))
    for block in page.blocks:
        before = len(kept)
        for line in islice(lines, block.lines):
            kind = "resource"
            try:
                kind = _type_of(line)
                matches, cut = _compiled(request, kind)
                if matches is None or matches(line):
                    kept.append(line if cut is None else cut(line))
            except UNREADABLE:
                issues.append(_unreadable(line, kind))
        if len(kept) > before:
            size = sum(map(len, kept[before:])) + len(kept) - before
            blocks.append(Block(block.patient, len(kept) - before, size))
    kept.append(b"")
    body = b"\n".join(kept)
    return msgspec.structs.replace(page, body=body, count=len(kept) - 1, issues=tuple(issues), blocks=tuple(blocks))


def _type_of(line: bytes) -> str:
    head = _head(line)
    return head[1].decode() if head else _typed(line).resourceType


def _unreadable(line: bytes, kind: str) -> Issue:
    """Names it where the bytes begin as a resource does."""
    head = _head(line)
    name = f"{head[1].decode()}/{head[2].decode()}" if head else f"An unnamed {kind}"
    return Issue(code="exception", diagnostics=f"{name} cannot be read as JSON, so it was left out")
