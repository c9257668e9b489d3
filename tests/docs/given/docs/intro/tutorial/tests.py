"""What the steps before have left."""

from pathlib import Path

from pages import blocks


(page,) = blocks("docs/intro/tutorial/history.md", "html")
(server,) = blocks("docs/intro/tutorial/workers.md", "python")
Path("page.html").write_text(page)
Path("server.py").write_text(server)
