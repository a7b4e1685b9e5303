"""What the crash tests share."""

from tests.acceptance.crashing import export, ground

__all__ = ["export", "ground"]
