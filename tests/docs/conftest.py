"""A Redis for the pages that publish over one."""

from ..rooms.conftest import redis_process as redis_process
from ..rooms.conftest import redis_server as redis_server
