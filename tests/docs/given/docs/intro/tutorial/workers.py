"""The page of the step before."""

from pathlib import Path

from pages import blocks


(page,) = blocks("docs/intro/tutorial/history.md", "html")
Path("page.html").write_text(page)
