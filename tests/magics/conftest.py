"""A shell of IPython in this process, with the magics loaded: what needs no kernel is tested without one."""

from __future__ import annotations

import atexit
import builtins
import sys
from typing import TYPE_CHECKING

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from snakepit_nb import magics

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def _plain_shell() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    hook, names = sys.displayhook, dict(vars(builtins))
    shell = InteractiveShell.instance(config=config)
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()
    sys.displayhook = hook
    for name in set(vars(builtins)) - set(names):
        delattr(builtins, name)


@pytest.fixture
def shell(_plain_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """The shell, its namespace empty and the extension loaded; both taken back at the end."""
    _plain_shell.reset(new_session=False)
    magics.load(_plain_shell)
    yield _plain_shell
    magics.unload(_plain_shell)
    _plain_shell.reset(new_session=False)
