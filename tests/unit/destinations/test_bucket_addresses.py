"""Addresses of buckets: one recorded form, and no credential in it (L21, S36)."""

from __future__ import annotations

import pytest

from fhirferry.destinations.addresses import destination_url, parse_bucket, with_account
from fhirferry.model.errors import RequestError

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("az://exports/daily/x", "az://exports/daily/x"),
        ("az://exports@acme/daily/", "az://exports@acme/daily"),
        ("azure://exports@acme", "az://exports@acme"),
        ("abfss://exports@acme.dfs.core.windows.net/daily", "az://exports@acme/daily"),
        ("https://acme.blob.core.windows.net/exports/daily", "az://exports@acme/daily"),
        ("https://acme.blob.core.windows.net/exports", "az://exports@acme"),
        ("s3://my.bucket/a/b", "s3://my.bucket/a/b"),
        (" S3://bucket/ ", "s3://bucket"),
        ("gs://my_bucket/a", "gs://my_bucket/a"),
        ("memory://x/a", "memory://x/a"),
        ("/srv/out", "file:///srv/out"),
        ("file:///srv/out", "file:///srv/out"),
    ],
)
def test_s36_what_is_typed_has_one_recorded_form(typed: str, recorded: str) -> None:
    assert destination_url(typed) == recorded
    assert destination_url(recorded) == recorded


@pytest.mark.parametrize(
    "typed",
    [
        f"az://user:{SECRET}@exports/x",
        f"s3://AKIA:{SECRET}@bucket/x",
        f"s3://{SECRET}@bucket/x",
        f"gs://{SECRET}@bucket",
        f"https://acme:{SECRET}@acme.blob.core.windows.net/exports",
        f"https://acme.blob.core.windows.net/exports/x?sv=2024&sig={SECRET}",
        f"az://exports/x?sig={SECRET}",
        f"az://exports/x#{SECRET}",
    ],
)
def test_l21_an_address_with_a_credential_is_refused_and_never_quoted(typed: str) -> None:
    with pytest.raises(RequestError) as caught:
        destination_url(typed)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "typed",
    [
        "az://", "az:///x", "az://UPPER/x", "az://ab/x", "az://a--b/x", "s3://a_b/x", "s3://bucket/a//b", "s3://bucket/../x",
        "s3://bucket/.fhirferry/x", "s3://bucket/a b", "gs://b/" + "x/" * 300, "https://example.org/x", "http://acme.blob.core.windows.net/exports",
        "abfss://exports@example.org/x", "az://exports@acme.example/x", "az://exports@AC/x",
    ],
)  # fmt: skip
def test_what_names_no_bucket_is_refused(typed: str) -> None:
    with pytest.raises(RequestError):
        destination_url(typed)


def test_an_account_comes_from_the_address_the_option_or_the_environment() -> None:
    assert with_account("az://exports/x", "acme") == "az://exports@acme/x"
    assert with_account("az://exports/x", None, "other") == "az://exports@other/x"
    assert with_account("az://exports@acme/x", None, "other") == "az://exports@acme/x"
    assert with_account("s3://bucket", None, "other") == "s3://bucket"
    for url, account in (("az://exports/x", None), ("az://exports@acme/x", "other"), ("s3://bucket", "acme")):
        with pytest.raises(RequestError):
            with_account(url, account)


def test_keys_are_names_below_the_prefix() -> None:
    for url, key in (("s3://bucket/a/b", "a/b/x/y.json"), ("s3://bucket", "x/y.json")):
        address = parse_bucket(url)
        assert address is not None
        assert address.key("x/y.json") == key
