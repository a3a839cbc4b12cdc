"""Other systems than Linux are told so, in one sentence, when a pool or the magics are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("asked", ["from snakepit_nb import Pool", "snakepit_nb.get_pool"])
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_another_system_is_told_that_workers_need_linux(platform: str, asked: str) -> None:
    code = f"import snakepit_nb, sys; sys.platform = {platform!r}; {asked}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(
        f"ImportError: snakepit_nb runs its workers on Linux for now, and this is {platform}"
    )
