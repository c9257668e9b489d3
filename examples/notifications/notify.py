"""Tell a user something, from a program that serves nothing.

    python examples/notifications/notify.py ann "Your report is ready."

or from Python, in a task of Celery, a view of Django, a thread, a cron job:

    from notify import notify
    notify("ann", "Your report is ready.")

It is plain blocking code: nothing is monkey-patched, no hub is started.
"""

import os
import sys

from gws.rooms import Publisher


# All three as server.py has them. It connects when it is first used, and again after
# a fork; make one for the process, not one for each message.
publisher = Publisher(
    os.environ.get("REDIS_URL", "redis://localhost"),
    history=100,
    history_ttl=7 * 24 * 3600,
)


def notify(user, text):
    """Tell a user something, wherever they are connected, or when they come back.

    Returns:
        Its id.

    Raises:
        ConnectionError: if Redis is not there.
    """
    return publisher.publish(f"user:{user}", text)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: notify.py USER TEXT")
    print(notify(*sys.argv[1:]))


if __name__ == "__main__":
    main()
