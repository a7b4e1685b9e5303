"""Percent-encoding is the library's, whether or not the library is asked."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

from hypothesis import example, given
from hypothesis import strategies as st

from fhirferry.model.uri import quoted


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["", "/", "/%!$&'()*+,;=:"]))
@example("/a_b/c-d.e~f", "/")
@example("/ü", "/")
@example("²", "")  # a digit to Python, not to RFC 3986
def test_every_text_is_encoded_as_the_library_does(text: str, marks: str) -> None:
    assert quoted(text, marks) == quote(text, safe=marks)


def test_a_name_of_any_bytes_is_encoded_as_it_was_given() -> None:
    assert quoted("/\udcff", "/", lambda text: text.encode("utf-8", "surrogateescape")) == "/%FF"


def test_a_plain_address_costs_no_import() -> None:
    asked = "from fhirferry.model.uri import quoted; quoted('/srv/my_data', '/')"
    script = f"import sys; {asked}; print('urllib.parse' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "False"
