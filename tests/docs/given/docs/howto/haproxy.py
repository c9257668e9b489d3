"""A router to serve."""

from pathlib import Path


Path("chat.py").write_text("from gws import Router\n\nrouter = Router()\n")
