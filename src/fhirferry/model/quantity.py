"""Sizes and durations as people write them. MB is 10^6 bytes, MiB is 2^20."""

from __future__ import annotations

from fhirferry.model.errors import RequestError

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Bytes of `256MB`, `1.5GiB`, `4096`. RequestError on anything else, and on zero or less."""
    number, unit = _split(text)
    factor = _BYTES.get(unit)
    if number is None or factor is None or number * factor < 1:
        raise RequestError(f"{text!r} is not a size; write it like 256MB (10^6 bytes) or 256MiB (2^20 bytes)")
    return int(number * factor)


def parse_duration(text: str) -> float:
    """Seconds of `60s`, `500ms`, `5m`, `2h`, `7d`, `30`. RequestError on anything else, and on zero or less."""
    number, unit = _split(text)
    factor = _SECONDS.get(unit)
    if number is None or factor is None or number * factor <= 0:
        raise RequestError(f"{text!r} is not a duration; write it like 500ms, 60s, 5m, 2h or 7d")
    return number * factor


def format_size(size: float) -> str:
    """`256 MB`, `1.2 GB`: decimal units, three digits at most."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError("unreachable")


def format_duration(seconds: float) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h07m`, `3d04h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def _split(text: str) -> tuple[float | None, str]:
    raw = text.strip().replace(" ", "").replace("_", "").lower()
    cut = next((i for i, c in enumerate(raw) if not (c.isdigit() or c == ".")), len(raw))
    try:
        return float(raw[:cut]), raw[cut:]
    except ValueError:
        return None, raw
