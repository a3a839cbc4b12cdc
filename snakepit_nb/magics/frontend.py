"""What the notebook runs in, for `%snakepit doctor`: the kernel, what shows the page, and its widgets.

*Rule:* a kernel cannot see its page: what started it, and what is installed, say what it will be. Of the
environment names are looked at, and no value is shown.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from snakepit_nb.magics.finding import Finding
from snakepit_nb.magics.packages import version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_MANAGER: Final = "@jupyter-widgets/jupyterlab-manager"
_EXTENSIONS: Final = {_MANAGER: "ipywidgets", "anywidget": "anywidget"}
# What stands in the command line of what started the kernel.
_STARTERS: Final = (
    ("nbconvert", "nbconvert"),
    ("jupyter-nbconvert", "nbconvert"),
    ("papermill", "papermill"),
    ("jupyter-execute", "jupyter execute"),
    ("nbclient", "nbclient"),
    ("voila", "Voilà"),
    ("jupyterlab", "JupyterLab"),
    ("jupyter-lab", "JupyterLab"),
    ("jupyter-notebook", "Jupyter Notebook"),
    ("jupyterhub-singleuser", "JupyterHub"),
    ("jupyter-console", "a terminal (jupyter console)"),
    ("spyder", "Spyder"),
    ("pycharm", "PyCharm"),
    ("jupyter-server", "a Jupyter server"),
    ("jupyter_server", "a Jupyter server"),
)
_WITHOUT_PAGE: Final = frozenset({"nbconvert", "papermill", "jupyter execute", "nbclient"})
# What shows HTML, or makes pages that do. In others an error is text: so is it where nobody knows.
_WITH_HTML: Final = frozenset(
    {
        "JupyterHub",
        "JupyterLab",
        "Jupyter Notebook",
        "VS Code",
        "Voilà",
        "a Jupyter server",
        "jupyter execute",
        "nbconvert",
    }
)
_CODE: Final = "VS Code"
_CODE_NAMES: Final = frozenset({"VSCODE_PID", "VSCODE_CWD", "VSCODE_IPC_HOOK_CLI", "VSCODE_NLS_CONFIG"})
_SERVED: Final = frozenset({"JPY_SESSION_NAME"})
_SEVEN: Final = (7, 0)
_SEVEN_FOUR: Final = (7, 4)
_LONGEST_WALK: Final = 4


def kernel() -> Finding:
    """The packages that the kernel is made of, and what its release means."""
    names = ("ipykernel", "IPython", "ipywidgets", "anywidget")
    versions = {name: version_of(name) for name in names}
    found = ", ".join(f"{name} {release}" for name, release in versions.items() if release)
    lacking = [name for name, release in versions.items() if not release]
    if lacking:
        return Finding("kernel", found or "nothing", f"pip install {' '.join(lacking)}", grave=True)
    return Finding("kernel", f"{found}; what the page sends is heard {_heard(versions['ipykernel'])}")


def _heard(release: str) -> str:
    """When this release of ipykernel attends to messages of widgets."""
    numbers = tuple(int(each) for each in release.split(".")[:2] if each.isdecimal())
    if numbers < _SEVEN:
        return "when a cell has ended"
    return "at once, in a thread beside the cell" if numbers < _SEVEN_FOUR else "between cells and awaits"


def page() -> Finding:
    """What shows the notebook, as far as the kernel can know."""
    if not _is_kernel():
        return Finding("front end", "a terminal or a script: everything shows as text")
    name = shown_by(os.environ, sys.argv, list(_starters()))
    if name in _WITHOUT_PAGE:
        return Finding("front end", f"{name}: nobody is watching, the notebook is saved as it ends")
    if name == _CODE:
        return Finding("front end", f"{_CODE}: its Jupyter extension brings what widgets need")
    there = [
        f"{each} {release}"
        for each in ("jupyterlab", "notebook", "nbclassic")
        if (release := version_of(each))
    ]
    installed = f"; beside the kernel: {', '.join(there)}" if there else ""
    return Finding("front end", f"{name or 'one that the kernel cannot see'}{installed}")


@functools.cache
def shows_html() -> bool:
    """Whether what shows this notebook is known to show HTML.

    Example:
        >>> shows_html()
        False
    """
    return _is_kernel() and shown_by(os.environ, sys.argv, list(_starters())) in _WITH_HTML


@functools.cache
def has_page() -> bool:
    """Whether somebody may look at this notebook while it runs; a program that runs it shows no widget.

    Example:
        >>> has_page()
        False
    """
    return _is_kernel() and shown_by(os.environ, sys.argv, list(_starters())) not in _WITHOUT_PAGE


def _is_kernel() -> bool:
    application = getattr(sys.modules.get("ipykernel.kernelapp"), "IPKernelApp", None)
    return application is not None and bool(application.initialized())


def shown_by(names: Collection[str], arguments: Sequence[str], starters: Sequence[Sequence[str]]) -> str:
    """What shows a notebook; empty where nothing tells.

    Args:
        names: The variables of the kernel's environment.
        arguments: The kernel's own command line.
        starters: The command lines of the process that started it, of what started that, and so on.

    Example:
        >>> shown_by([], [], [["python", "/bin/jupyter-lab"]])
        'JupyterLab'
    """
    for line in starters:
        for word in line[:_LONGEST_WALK]:
            last = word.replace("\\", "/").rpartition("/")[2].lower()
            for part, name in _STARTERS:
                if last.startswith(part):
                    return name
    # Kernels that VS Code starts have connection files of names that nobody else uses.
    if any("kernel-v" in word and word.endswith(".json") for word in arguments):
        return _CODE
    if _SERVED.intersection(names):
        return "a Jupyter server"
    return _CODE if _CODE_NAMES.intersection(names) else ""


def _starters() -> Iterator[list[str]]:
    import psutil  # noqa: PLC0415 - only who asks needs it

    try:
        for process in psutil.Process().parents()[:_LONGEST_WALK]:
            yield process.cmdline()
    except psutil.Error:
        return


def widgets() -> Finding:
    """Whether JupyterLab has what draws widgets: the timeline is one."""
    there = {name: _extension(name) for name in _EXTENSIONS}
    found = ", ".join(f"{name} {release}" for name, release in there.items() if release)
    lacking = [_EXTENSIONS[name] for name, release in there.items() if not release]
    off = sorted(_switched_off().intersection(_EXTENSIONS))
    if off:
        command = "; ".join(f"jupyter labextension enable {name}" for name in off)
        return Finding("widgets", f"{', '.join(off)} switched off", command)
    if lacking:
        return Finding(
            "widgets",
            f"beside the kernel {found or 'nothing'} that JupyterLab draws them with",
            f"where JupyterLab is installed: pip install {' '.join(lacking)}, and reload the page",
        )
    return Finding("widgets", f"JupyterLab draws them with {found}")


def _extension(name: str) -> str:
    """The version of an extension of JupyterLab; empty where it is none that Lab looks at."""
    from jupyter_core.paths import jupyter_path  # noqa: PLC0415 - only who asks needs it

    for folder in jupyter_path("labextensions"):
        about = Path(folder) / name / "package.json"
        if about.is_file():
            return str(json.loads(about.read_text(encoding="utf-8")).get("version", "of some version"))
    return ""


def _switched_off() -> set[str]:
    from jupyter_core.paths import jupyter_config_path  # noqa: PLC0415 - only who asks needs it

    off: set[str] = set()
    for folder in jupyter_config_path():
        settings = Path(folder) / "labconfig" / "page_config.json"
        if settings.is_file():
            listed = json.loads(settings.read_text(encoding="utf-8")).get("disabledExtensions", {})
            off |= {name for name in listed if not isinstance(listed, dict) or listed[name]}
    return off
