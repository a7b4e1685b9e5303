"""Promise 3: bytes in, bytes out. What is read, what is refused, and what stamping may touch."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirferry.fhir.resource import ResourceError, read_resource, with_meta
from fhirferry.fhir.types import R4, R4B

T = 1_767_323_045_678_000
NAMES = st.text(st.characters(categories=("L", "N"), include_characters='_"\\/é\u2028'), min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("meta"), inner, max_size=3),
    max_leaves=8,
)
STAMPS = {
    "versionId": st.text(max_size=5),
    "lastUpdated": st.sampled_from(["2020-01-01T00:00:00Z", "2021-05-06T07:08:09.123456+02:00"]),
}


@st.composite
def resources(draw: st.DrawFn) -> dict[str, object]:
    """Any JSON object with a type, an id and perhaps a meta, in any order."""
    members = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    members.pop("meta", None)
    members |= {"resourceType": "Basic", "id": draw(st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True))}
    if draw(st.booleans()):
        members["meta"] = draw(st.dictionaries(NAMES, VALUES, max_size=2)) | draw(
            st.fixed_dictionaries({}, optional=STAMPS)
        )
    return dict(draw(st.permutations(list(members.items()))))


def written(resource: object, **how: object) -> bytes:
    return json.dumps(resource, **how).encode("utf-8", "surrogatepass")  # type: ignore[arg-type]


def test_promise3_tokens_keep_their_spelling_and_order() -> None:
    data = (
        b'{ "id" : "a",\r\n\t"resourceType":"Basic", '
        b'"n":[1.50, 1.0E+2, 12345678901234567890123, -0.0], "s":"\\u00e9\\/ \xc3\xa9" }\n'
    )
    resource = read_resource(data)
    assert resource.body == (
        b'{"id":"a","resourceType":"Basic","n":[1.50,1.0E+2,12345678901234567890123,-0.0],"s":"\\u00e9\\/ \xc3\xa9"}'
    )
    assert (resource.type, resource.id, resource.meta, resource.updated) == ("Basic", "a", None, None)
    assert read_resource(memoryview(data)) == resource


@given(resources(), st.sampled_from([None, 1, "\t"]))
def test_promise3_meta_is_found_wherever_it_stands_and_whatever_looks_like_it(
    content: dict[str, object], indent: object
) -> None:
    resource = read_resource(written(content, indent=indent, ensure_ascii=False))
    assert json.loads(resource.body) == content
    assert b"\n" not in resource.body
    if "meta" in content:
        assert resource.meta is not None
        assert json.loads(resource.body[slice(*resource.meta)]) == content["meta"]
    else:
        assert resource.meta is None


@given(resources(), st.text(max_size=4) | st.none(), st.none() | st.integers(0, T))
def test_stamping_changes_the_stamps_alone_and_not_the_digest(
    content: dict[str, object], version: str | None, updated: int | None
) -> None:
    resource = read_resource(written(content, ensure_ascii=False))
    body = with_meta(resource, version_id=version, last_updated=updated)
    again = read_resource(body)
    assert again.body == body  # still compact
    assert again.digest == resource.digest
    assert again.version_id == (resource.version_id if version is None else version)
    assert again.updated == (resource.updated if updated is None else updated)
    assert with_meta(again, version_id=version, last_updated=updated) == body

    after = json.loads(body)
    before = dict(content)
    rest = {k: v for k, v in after.pop("meta", {}).items() if k not in STAMPS}
    assert rest == {k: v for k, v in before.pop("meta", {}).items() if k not in STAMPS}  # type: ignore[attr-defined]
    assert list(after.items()) == list(before.items())


@given(resources(), resources())
def test_digests_differ_exactly_when_contents_do(one: dict[str, object], other: dict[str, object]) -> None:
    other["id"] = one["id"]
    same = written(_unstamped(one)) == written(_unstamped(other))
    digests = [read_resource(written(content, ensure_ascii=False)).digest for content in (one, other)]
    assert (digests[0] == digests[1]) is same


def _unstamped(content: dict[str, object]) -> list[object]:
    rest = {k: v for k, v in content.items() if k != "meta"}
    meta = {k: v for k, v in content.get("meta", {}).items() if k not in STAMPS}  # type: ignore[attr-defined]
    return [rest, meta]


def test_a_decimal_written_with_more_digits_is_another_content() -> None:
    one, other = (read_resource(b'{"resourceType":"Basic","id":"a","n":%s}' % n) for n in (b"1.5", b"1.50"))
    assert one.digest != other.digest


@pytest.mark.parametrize("place", [b'{%s,"resourceType":"Basic","id":"a"}', b'{"resourceType":"Basic",%s,"id":"a"}'])
@pytest.mark.parametrize(
    "meta", [b"{}", b'{"versionId":"1"}', b'{"lastUpdated":"2026-01-01T00:00:00Z","versionId":"1"}']
)
def test_a_meta_of_stamps_alone_counts_as_none_wherever_it_stands(place: bytes, meta: bytes) -> None:
    bare = read_resource(b'{"resourceType":"Basic","id":"a"}')
    assert read_resource(place % (b'"meta":%s' % meta)).digest == bare.digest


def test_meta_of_a_contained_resource_is_not_taken_for_the_resource_s_own() -> None:
    meta = b'"meta":{"versionId":"7"}'
    contained = b'"contained":[{"resourceType":"Basic","id":"c",%s}]' % meta
    resource = read_resource(b'{%s,"resourceType":"Basic","id":"a",%s}' % (contained, meta))
    assert resource.meta == (len(resource.body) - 18, len(resource.body) - 1)
    body = with_meta(resource, version_id="8", last_updated=None)
    assert body == b'{%s,"resourceType":"Basic","id":"a","meta":{"versionId":"8"}}' % contained


def test_a_resource_without_meta_gets_it_behind_its_id() -> None:
    resource = read_resource(b'{"resourceType":"Basic","id":"a","x":1}')
    assert with_meta(resource, version_id="1", last_updated=T) == (
        b'{"resourceType":"Basic","id":"a","meta":{"versionId":"1","lastUpdated":"2026-01-02T03:04:05.678Z"},"x":1}'
    )
    assert with_meta(resource, version_id=None, last_updated=None) == resource.body


@pytest.mark.parametrize(
    "opening",
    [
        b'"id":"a","resourceType":"Basic"',
        b'"resourceType":"Basic","x":"","id":"a"',
        b'"resourceType":"Bas\\u0069c","id":"a"',
        b'"resourceType":"Basic","id":"\\u0061"',
        b'"resourceType":"Basic","idem":"","id":"a"',
    ],
)
def test_a_resource_that_opens_otherwise_gets_it_at_its_end(opening: bytes) -> None:
    body = with_meta(read_resource(b"{%s}" % opening), version_id="1", last_updated=None)
    assert body == b'{%s,"meta":{"versionId":"1"}}' % opening


GOOD = b'{"resourceType":"Basic","id":"a"%s}'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "resourceType is missing"),
        (b'{"resourceType":"Basic"}', "id is missing"),
        (b'{"resourceType":"Basic","id":7}', "id is no string"),
        (b'{"resourceType":"Basic","id":"secret name"}', "id (11 characters)"),
        (b'{"resourceType":"Basic","id":"%s"}' % (b"a" * 65), "id (65 characters)"),
        (b'{"resourceType":"Basic","id":"a\\n"}', "id (2 characters)"),
        (b'{"resourceType":"basic","id":"a"}', "resourceType (5 characters)"),
        (GOOD % b',"id":"b"', "id is doubled"),
        (GOOD % b',"id":"a"', "a member is doubled"),
        (GOOD % b',"meta":{"versionId":"1"},"meta":{}', "meta is doubled"),
        (GOOD % b',"i\\u0064":"b"', "doubled"),
        (GOOD % b',"\xc3\xa9":1,"\\u00e9":2', "doubled"),
        (GOOD % b',"\\u006deta":{}', "member meta is written with escapes"),
        (GOOD % b',"meta":null', "meta is no JSON object"),
        (GOOD % b',"meta":{"versionId":null}', "versionId is no string"),
        (GOOD % b',"meta":{"lastUpdated":"secret"}', "meta.lastUpdated (6 characters) is no instant"),
        (GOOD % b',"meta":{"lastUpdated":"2026-01-02"}', "is no instant"),
        (GOOD % b',"x":"\xff"', "invalid UTF-8"),
        (GOOD % b',"x":"\xed\xa0\x80"', "invalid UTF-8"),
        (GOOD % b',"x":"\\ud800"', "not a resource"),
        (GOOD % b',"x":"\x01"', "byte 38"),
        (GOOD % b',"x":"a\nb"', "not a resource"),
        (GOOD % b',"x":NaN', "not a resource"),
        (GOOD % b',"x":01', "not a resource"),
        (GOOD % b",", "not a resource"),
        (GOOD % b"" + GOOD % b"", "trailing characters"),
        (GOOD % (b',"x":' + b"[" * 100_000 + b"]" * 100_000), "nested too deep"),
    ],
)
def test_promise5_what_is_no_resource_is_refused_without_quoting_it(data: bytes, reason: str) -> None:
    with pytest.raises(ResourceError) as caught:
        read_resource(data)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


def test_utf8_is_checked_across_the_pieces_of_a_large_body() -> None:
    for shift in range(4):
        text = "x" * shift + "😀" * 600_000
        data = b'{"resourceType":"Basic","id":"a","x":"%s"}' % text.encode()
        assert read_resource(data).body == data
        with pytest.raises(ResourceError, match="UTF-8"):
            read_resource(data.replace(b'\x80"}', b'"}'))


def test_the_tables_of_types_are_those_of_the_releases() -> None:
    assert {"Patient", "EffectEvidenceSynthesis", "RiskEvidenceSynthesis"} <= R4
    assert {"Patient", "SubscriptionTopic", "Ingredient"} <= R4B
    assert "Resource" not in R4 | R4B
    assert "DomainResource" not in R4 | R4B
    assert "EffectEvidenceSynthesis" not in R4B
    assert (len(R4), len(R4B)) == (146, 141)
