"""The page that the server serves, which stands below it."""

from pathlib import Path

from pages import blocks


(page,) = blocks("docs/intro/tutorial/broadcast.md", "html")
Path("page.html").write_text(page)
