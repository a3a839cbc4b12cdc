"""What Sphinx makes the documentation's site of: the pages of the repository, where they lie.

*Rule:* `docs/index.md` is the one list of pages: what it links to is in the site, in its sections and order.
*Rule:* a page is plain Markdown that GitHub shows as well.
*Rule:* the site is built without a network and opens nothing from outside.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pygments.lexer import bygroups, inherit
from pygments.lexers.python import PythonLexer
from pygments.token import Keyword, Operator, Text

import snakepit_nb

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parent.parent
CONTENTS: Final = "docs/index"
_SECTION: Final = re.compile(r"^## (?P<title>.+)\n(?P<body>(?:(?!## ).*\n?)*)", re.MULTILINE)
_ENTRY: Final = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<path>[^)#:]+)\)", re.MULTILINE)
_FIRST_PAGE: Final = """\
<!doctype html><meta charset="utf-8"><title>snakepit_nb</title>
<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">snakepit_nb</a>
"""
_VALUES: Final = ("attribute", "data", "property")
_COLON: Final = "\N{INVISIBLE SEPARATOR}"


class NotebookLexer(PythonLexer):  # type: ignore[misc]  # it comes without types
    """Python of which a line may be a magic, and the first one may say where the rest is run."""

    name = "Notebook"
    aliases: Final = ["notebook"]
    filenames: Final[list[str]] = []
    tokens: Final = {"root": [(r"^(%%?)(\w+)(.*\n)", bygroups(Operator, Keyword, Text)), inherit]}


def sections(text: str) -> dict[str, dict[str, str]]:
    """The contents: by section its pages, as paths from the repository's root, and their titles."""
    here = (ROOT / CONTENTS).parent
    return {
        section["title"]: {
            here.joinpath(entry["path"]).resolve().relative_to(ROOT).as_posix(): entry["title"]
            for entry in _ENTRY.finditer(section["body"])
        }
        for section in _SECTION.finditer(text)
    }


def _with_navigation(_: Sphinx, name: str, source: list[str]) -> None:
    """Give the contents what the navigation is made of."""
    if name != CONTENTS:
        return
    for title, pages in sections(source[0]).items():
        lines = [f"{page} </{path.rpartition('.')[0]}>" for path, page in pages.items()]
        tree = ["", "```{toctree}", ":hidden:", f":caption: {title}", "", *lines, "```", ""]
        source[0] += "\n".join(tree)


def _with_first_page(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        app.outdir.joinpath("index.html").write_text(_FIRST_PAGE, encoding="utf-8")


def _as_it_is_meant(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    """Give each rule of a module a paragraph, and keep a value's sentence from being read as a type."""
    rules = [[line] if not line.startswith("*Rule:*") else ["", line] for line in lines]
    lines[:] = [line for each in rules for line in each]
    if what in _VALUES:
        lines[:] = [line.replace(": ", _COLON) for line in lines]


def _as_it_was(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    if what in _VALUES:
        lines[:] = [line.replace(_COLON, ": ") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.connect("source-read", _with_navigation)
    app.connect("build-finished", _with_first_page)
    # Before and after napoleon, which listens at 500.
    app.connect("autodoc-process-docstring", _as_it_is_meant, priority=400)
    app.connect("autodoc-process-docstring", _as_it_was, priority=600)
    for language in ("python", "ipython", "ipython3"):
        app.add_lexer(language, NotebookLexer)
    return {"parallel_read_safe": True}


project = "snakepit_nb"
author = "The snakepit_nb authors"
copyright = author  # noqa: A001 - Sphinx looks it up by this name
version = release = snakepit_nb.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

root_doc = CONTENTS
_contents = (ROOT / f"{CONTENTS}.md").read_text(encoding="utf-8")
include_patterns = [f"{CONTENTS}.md", *(path for pages in sections(_contents).values() for path in pages)]
exclude_patterns = [".*", "out", "build", "dist", "tests", "**/node_modules", "**/__pycache__"]
nitpicky = True
# Whatever is ours must be there; what others name is theirs, and cannot be looked up without a network.
# Type variables and names for types are in signatures and nowhere else.
nitpick_ignore_regex = [
    ("py:.*", r"(?!snakepit_nb\.).*"),
    ("py:class", r"snakepit_nb\..*\.(T|P|Keeper|Limits|TypeName|SyntaxFacts)"),
]

myst_heading_anchors = 4
nb_execution_mode = "off"

smartquotes = False  # an option's two dashes are two
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100

linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)\b"]

html_theme = "furo"
html_title = "snakepit_nb"
html_theme_options = {
    "light_css_variables": {"color-code-background": "#f4f6f8"},
    "dark_css_variables": {"color-code-background": "#1d2126"},
}
html_static_path = [str(ROOT / "docs" / "site")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
