"""`%snakepit status`, `config`, `scale` and `doctor` in a real kernel, beside cells that run."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import CellOutcome, Notebook


def html(cell: CellOutcome) -> str:
    result = cell.ok().result
    assert result is not None
    return str(result["text/html"])


def test_status_tells_what_runs_while_it_runs_and_while_its_worker_is_stopped(own: Notebook) -> None:
    gate = own.cwd / "gate"
    os.mkfifo(gate)
    cell = own.run(
        "%%snakepit -b -n train -t 600 -o pid\n"
        f"import os\nprint(os.getpid())\nopen({str(gate)!r}).read()\npid = os.getpid()"
    ).ok()
    own.wait_until(lambda: cell.stdout.endswith("\n"), what="the job begins")
    pid = int(cell.stdout)
    os.kill(pid, signal.SIGSTOP)
    try:
        shown = own.run("%snakepit status").ok()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "1 busy" in str(shown.value)
    assert "train #" in str(shown.value)
    assert " · a time limit in " in str(shown.value)
    assert f">{pid}</td>" in html(shown)
    gate.write_text("go")
    own.run("train.result()").ok()
    assert "train #" not in str(own.run("%snakepit status").ok().value)
    own.run("%snakepit stop").ok()
    assert (
        own.run("%snakepit status").ok().value == "no pool is running; the first %%snakepit cell starts one"
    )


def test_several_pools_have_a_table_each_and_one_can_be_chosen(own: Notebook) -> None:
    own.run("%snakepit start wide -w 1").ok()
    shown = own.run("%snakepit status").ok()
    assert html(shown).count("<table") == 2
    assert html(own.run("%snakepit status wide").ok()).count("<table") == 1
    assert "did you mean 'wide'" in own.run("%snakepit status wid").stderr


def test_an_option_that_is_set_counts_for_the_pools_that_start_from_then_on(own: Notebook) -> None:
    cell = own.run("%snakepit config max_requests=1").ok()
    assert cell.stdout.splitlines()[0] == "max_requests = 1, for pools that start from now on"
    assert cell.stdout.splitlines()[1].startswith("default keeps what it has, until it is stopped")
    own.run("%snakepit start once -w 1").ok()
    ids = [own.run("%%snakepit once\nimport os\nos.getpid()").ok().value for _ in range(2)]
    assert ids[0] != ids[1]
    assert ">max_requests</td>" in html(own.run("%snakepit config max_requests"))
    assert own.run("%snakepit config --reset").ok().stdout.startswith("all options are what they were")
    refused = own.run("%snakepit config max_request=2")
    assert "no option named 'max_request'; did you mean max_requests" in refused.stderr


def test_a_pool_is_scaled_while_a_cell_runs(own: Notebook) -> None:
    own.run("%snakepit start wide -w 1").ok()
    own.run("%%snakepit wide -b -n held\nimport time\ntime.sleep(600)").ok()
    assert (
        own.run("%snakepit scale 2 wide").ok().stdout
        == "pool wide: 2 workers instead of 1; 1 more start now\n"
    )
    assert own.run("%%snakepit wide\n6 * 7").ok().value == "42"
    assert "takes a number of workers" in own.run("%snakepit scale none wide").stderr
    own.run("held.cancel()").ok()


def test_doctor_knows_the_kernel_that_it_runs_in(shared: Notebook) -> None:
    report = shared.run("%snakepit doctor").ok()
    assert "could not be looked at" not in str(report.value)
    assert "a terminal or a script" not in str(report.value)
    assert html(report).count("</tr>") > 20


def test_help_tells_of_each_of_them(shared: Notebook) -> None:
    text = str(
        shared.run("print(get_ipython().magics_manager.magics['line']['snakepit'].__doc__)").ok().stdout
    )
    for word in ("status", "scale", "config", "doctor", "metrics", "recycle", "start", "stop"):
        assert f"usage: %snakepit {word}" in text


def test_the_tab_key_offers_subcommands_pools_options_and_flags(own: Notebook) -> None:
    own.run("%snakepit start wide -w 1\nstatus_of_mine = 1").ok()
    own.run("import snakepit_nb\nsnakepit_nb.new_magic('mine', quiet=True)").ok()
    for text, word in (
        ("%snakepit sta", "status"),
        ("%snakepit status wi", "wide"),
        ("%snakepit scale 2 wi", "wide"),
        ("%snakepit recycle wide", "wide-0"),
        ("%snakepit config dea", "deaths_within"),
        ("%snakepit config when_full=re", "reject"),
        ("%snakepit config arena=", "off"),
        ("%snakepit start --pre", "--preload"),
        ("%snakepit metrics wi", "wide"),
        ("%snakepit metrics --s", "--serve"),
        ("%%snakepit wi", "wide"),
        ("%%snakepit --re", "--retry"),
        ("%snakepit status_", "status_of_mine"),
        ("%%snakepit -i status_", "status_of_mine"),
        ("%%snakepit -i a,status_", "status_of_mine"),
        ("%%snakepit\nstatus_", "status_of_mine"),
        ("%%snakepit --map x in status_", "status_of_mine"),
        ("%%snakepit --map x in xs --pro", "--progress"),
        ("%%snakepit --inout a,status_", "status_of_mine"),
        ("%%mine wi", "wide"),
        ("%%mine -o status_", "status_of_mine"),
    ):
        assert word in own.completions(text), text
    own.run("%unload_ext snakepit_nb").ok()
    assert "deaths_within" not in own.completions("%snakepit config dea")
