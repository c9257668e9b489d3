"""What Sphinx makes of these pages: `tox -e docs`, or

python -m sphinx -W --keep-going docs FOLDER
"""

import re
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from itertools import pairwise
from pathlib import Path


HERE = Path(__file__).parent
CHECKOUT = HERE.parent


def find_sources(path: str) -> FileFinder:
    """Find the modules of gws in its sources: compiled ones tell less of themselves."""
    if not Path(path).is_relative_to(CHECKOUT / "gws"):
        raise ImportError
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


sys.path.insert(0, str(CHECKOUT))
sys.path_hooks.insert(0, find_sources)

from gws import __version__  # noqa: E402


project = "gws"
author = "the gws authors"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
nitpicky = True
# `name` in a docstring: a link if it is a name of ours, else code.
default_role = "py:obj"
# What is not ours stands in no inventory: the build asks no other site.
nitpick_ignore_regex = [("py:obj", ".*"), (r"py:\w+", r"(?!gws\b).*")]
# Types that stand in signatures and say all there is to them by their names.
nitpick_ignore = [
    ("py:class", f"gws.{name}")
    for name in (
        "client.opening.ChallengeAuth",
        "health.HasReadiness",
        "prepared.PreparedMessage",
        "protocol.datastructures.SupportsKeysAndGetItem",
        "protocol.http11.LineStream",
        "protocol.reader.InvalidText",
        "router.Handler",
        "server.route.Route",
        "testing.rawpairs.Pair",
        "wsgi.flask.Handler",
        "wsgi.flask.WebSocketResponse",
    )
]

# Pages
myst_heading_anchors = 3
# HAProxy, Redis: Pygments knows no such languages.
suppress_warnings = ["misc.highlighting_failure"]
highlight_language = "text"

# Reference
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries = False
napoleon_custom_sections = [
    ("Opening raises", "params_style"),
    ("Ending raises", "params_style"),
]

#: What gws makes, not its users: how it is called is nobody's business.
MADE_BY_GWS = {
    "gws.ClientConnection",
    "gws.Connection",
    "gws.Server",
    "gws.ServerConnection",
    "gws.rooms.Membership",
    "gws.wsgi.Refused",
}

html_theme = "furo"
html_title = f"gws {release}"
html_copy_source = False
html_show_sphinx = False

#: A link of Markdown to a file.
LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def link_outside(app, docname, source) -> None:
    """Have links to files that are no pages here, such as examples, download these."""
    folder = HERE.joinpath(docname).parent

    def link(found: re.Match[str]) -> str:
        path = folder.joinpath(found[2]).resolve()
        if path.is_relative_to(HERE) or not path.exists():
            return found[0]
        target = f"{found[2]}/README.md" if path.is_dir() else found[2]
        return f"{{download}}`{found[1]} <{target}>`"

    source[0] = LINK.sub(link, source[0])


def hide_signature(app, what, name, obj, options, signature, returns):
    return ("", None) if name in MADE_BY_GWS else None


def mark_examples(app, what, name, obj, options, lines) -> None:
    """Have indented examples of a docstring shown as the code that they are.

    Sections such as "Args:" are indented, too, but right below their names.
    """
    marked: list[str] = []
    flush, inside = "", False
    for before, line in pairwise(["", *lines]):
        if line and not line.startswith(" "):
            flush, inside = line, False
        elif line and not inside:
            inside = True
            if not before and not flush.endswith("::"):
                marked += [".. code-block:: python", ""]
        marked.append(line)
    lines[:] = marked


def setup(app) -> None:
    app.connect("source-read", link_outside)
    app.connect("autodoc-process-signature", hide_signature)
    # Before napoleon.
    app.connect("autodoc-process-docstring", mark_examples, priority=400)
