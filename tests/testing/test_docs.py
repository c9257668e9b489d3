"""docs/howto/testing.md, run as a user would: a conftest.py and one module of tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import gws.testing

from ..docs.pages import blocks


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "testing.md"

#: Only the plugin that the page names: others take a second to be imported.
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

PYTEST = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]


def test_every_snippet(tmp_path: Path) -> None:
    *snippets, plugins, last = blocks("docs/howto/testing.md", "python")
    module = "\n\n".join([*snippets, last])
    tmp_path.joinpath("conftest.py").write_text(plugins)
    tmp_path.joinpath("test_page.py").write_text(module)
    run = subprocess.run(
        PYTEST, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    n = len(re.findall(r"^def test_", module, re.MULTILINE))
    assert f"{n} passed" in run.stdout.splitlines()[-1], run.stdout + run.stderr
    assert run.stderr == ""


def test_the_page_names_what_there_is() -> None:
    """All public names of `gws.testing` that are no constants stand in the page."""
    names = re.findall(
        r"^from \..* import (\w*[a-z]\w*) as",
        Path(gws.testing.__file__).read_text(),
        re.MULTILINE,
    )
    text = PAGE.read_text()
    assert [name for name in names if name not in text] == []
