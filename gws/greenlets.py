"""The two operations on greenlets that every message needs.

This is the readable twin of ``_greenlets.pyx``, whose functions the compiled
modules take in their place, at compile time, by their ``.pxd``.
"""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent as getcurrent


def switch_to(greenlet: Any) -> None:
    """Switch to a greenlet, until something switches back."""
    greenlet.switch()
