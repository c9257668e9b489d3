"""What every message asks of greenlets, and of the thread they run in.

This is the readable twin of ``_greenlets.pyx``, whose functions the compiled
modules take in their place, at compile time, by their ``.pxd``.
"""

from __future__ import annotations

from typing import Any

from gevent.monkey import get_original
from greenlet import getcurrent as getcurrent


#: Which thread this is; patched, it would say which greenlet.
thread_id = get_original("_thread", "get_ident")


def switch_to(greenlet: Any) -> None:
    """Switch to a greenlet, until something switches back."""
    greenlet.switch()
