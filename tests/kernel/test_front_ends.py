"""However a front end asks for a cell, and whatever stands around `%%snakepit` in it, it does the same."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.kernels import CellOutcome

if TYPE_CHECKING:
    from tests.kernels import Notebook

TIMES = r"CPU times: user [\d.]+ \w+, sys: .*, total: .*\nWall time: [\d.]+ \w+\n"
ASKS = [
    pytest.param({"silent": True}, id="silent"),
    pytest.param({"store_history": False}, id="without history"),
    pytest.param({"silent": True, "store_history": False}, id="silent and without history"),
    pytest.param({"allow_stdin": True}, id="with questions"),
    pytest.param({"stop_on_error": False}, id="going on after an error"),
]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def asked(notebook: Notebook, code: str, metadata: dict[str, object], **options: bool) -> CellOutcome:
    """A cell as a front end asks for it that has ways and metadata of its own."""
    client = notebook._client
    assert client is not None
    content = {
        "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
        "stop_on_error": True, **options,
    }  # fmt: skip
    message = client.session.msg("execute_request", content, metadata=metadata)
    with notebook._arrival:
        outcome = notebook._cells[message["header"]["msg_id"]] = CellOutcome(
            code, message["header"]["msg_id"]
        )
        client.shell_channel.send(message)
    return notebook.finish(outcome)


@pytest.mark.parametrize("options", ASKS)
def test_a_front_end_may_ask_in_its_own_way(shared: Notebook, options: dict[str, bool]) -> None:
    metadata: dict[str, object] = {"cellId": "vscode-notebook-cell:/a.ipynb#X10sZmlsZQ==", "deletedCells": []}
    cell = asked(shared, "%%snakepit\nprint('said')\nmade = 6\nmade * 7", metadata, **options).ok()
    assert cell.stdout == "said\n"
    assert cell.value == (None if options.get("silent") else "42")
    assert shared.run("made").ok().value == "6"
    failed = asked(shared, "%%snakepit\n\n1 / 0", metadata, **options)
    assert failed.error is not None
    assert failed.error.ename == "ZeroDivisionError"
    assert "line 3" in plain(failed.error.text)
    refused = asked(shared, "%%snakepit\ninput('name: ')", metadata, **options)
    assert refused.error is not None
    assert "ask in an ordinary cell" in refused.error.evalue
    assert shared.run("%%snakepit\nmade").ok().value == "6"
    shared.run("del made").ok()


def test_variables_that_an_editor_leaves_in_the_notebook_do_not_go_along(shared: Notebook) -> None:
    asked(
        shared, "import threading as _VSCODE_threading\n_VSCODE_lock = _VSCODE_threading.Lock()\n"
        "__vsc_ipynb_file__ = '/a.ipynb'", {}, silent=True, store_history=False,
    )  # fmt: skip
    cell = shared.run("%%snakepit\nx = 1\nx").ok()
    assert (cell.value, cell.displays) == ("1", [])


def test_time_may_stand_on_or_under_the_magic(shared: Notebook) -> None:
    on = shared.run("%%time\n%%snakepit\nz = 6 * 7\nz").ok()
    under = shared.run("%%snakepit\n%%time\nz = 6 * 7\nz").ok()
    for cell in (on, under):
        assert cell.value == "42"
        assert re.fullmatch(TIMES, cell.stdout)
    failed = shared.run("%%snakepit\n%%time\nz = 1\nz / 0")
    assert failed.error is not None
    assert f"In [{failed.execution_count}], line 4" in plain(failed.error.text)
    assert "Wall time" in failed.stdout
    waited = shared.run("%%snakepit\n%%time\nimport asyncio\nawait asyncio.sleep(0)\n'awake'").ok()
    assert (waited.value, "Wall time" in waited.stdout) == ("'awake'", True)


def test_capture_on_the_magic_keeps_what_the_worker_shows(shared: Notebook) -> None:
    cell = shared.run("%%capture seen\n%%snakepit\nprint('text')\ndisplay('shown')\n'last'").ok()
    assert cell.messages == []
    kept = shared.run("seen.stdout, [each.data['text/plain'] for each in seen.outputs]").ok()
    assert kept.value == "('text\\n', [\"'shown'\", \"'last'\"])"


def test_timeit_on_the_magic_times_the_whole_way_and_under_it_says_what_to_write(shared: Notebook) -> None:
    assert "2 loops each" in shared.run("%%timeit -n 2 -r 1\n%%snakepit\n1 + 1").ok().stdout
    told = shared.run("%%snakepit\n%%timeit\n1 + 1").stderr
    assert "write %timeit in a line" in told


def test_a_cell_that_awaits_may_run_one_in_a_worker(shared: Notebook) -> None:
    cell = shared.run(
        "import asyncio\nbody = 'import asyncio\\nawait asyncio.sleep(0)\\n5'\n"
        "async def both():\n    await asyncio.sleep(0)\n"
        "    return get_ipython().run_cell_magic('snakepit', '', body)\nawait both()"
    ).ok()
    assert cell.value == "5"
    cell = shared.run("%%snakepit -b -n job\n40")
    assert shared.run("await job").ok().value == "40"


def test_the_kernel_says_which_ipykernel_it_is(shared: Notebook) -> None:
    wanted = os.environ.get("IPYKERNEL_OF_THE_TESTS")
    here = shared.run("import ipykernel\nipykernel.__version__").ok().value
    assert wanted is None or json.loads((here or "''").replace("'", '"')) == wanted
