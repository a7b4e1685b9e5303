"""A 2 GB file reaches a bucket in less than 200 MB of memory (issue's item 1)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from tests.object_stores import azurite, rclone

_UPLOAD = """
import os, resource, sys, time
from fhirferry.destinations.bucket_opening import open_object_store
place = open_object_store(sys.argv[1])
place.prepare("0b6c5e1a")
part = place.part_name("0b6c5e1a", "Patient-1-0123")
piece, size, start = os.urandom(1_000_000), int(sys.argv[2]), time.monotonic()
file = place.create(part)
for _ in range(size // len(piece)):
    file.write(piece)
file.commit()
took = time.monotonic() - start
read = sum(map(len, place.read(part)))
assert read == size == place.stat(part).bytes, read
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, size / took / 1e6)
"""


@pytest.mark.soak
@pytest.mark.parametrize("server", [azurite, rclone])
def test_two_gigabytes_in_less_than_200_mb(server: object, tmp_path: Path) -> None:
    with server(tmp_path) as running:  # type: ignore[operator]
        out = subprocess.run(
            [sys.executable, "-c", _UPLOAD, f"{running.root}/large", str(2_000_000_000)],
            env={**os.environ, **running.settings}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert out.returncode == 0, out.stderr
    memory, rate = map(float, out.stdout.split())
    print(f"{memory / 1e6:.0f} MB, {rate:.0f} MB/s")
    assert memory < 200_000_000
