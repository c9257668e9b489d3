"""The Redis servers that examples use."""

from __future__ import annotations

from ..rooms.conftest import redis_process as redis_process
from ..rooms.conftest import start_redis as start_redis
