"""What a cell writes and shows appears under it, live and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kernels import CellOutcome, Notebook


def in_order(cell: CellOutcome) -> list[str]:
    """Text and displays as one reads them down the page."""
    text = "".join(
        each.content["text"] if each.kind == "stream" else f"<{each.content['data']['text/plain']}>\n"
        for each in cell.of("stream", "display_data", "execute_result")
    )
    return text.split()


def test_text_displays_and_figures_come_in_the_order_in_which_they_were_made(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nimport matplotlib.pyplot as plt\nfrom IPython.display import HTML\n"
        "print('one')\ndisplay('two')\nprint('three')\nplt.plot([1, 2])\nplt.show()\nprint('four')\n"
        "display(HTML('<b>five</b>'))\n'six'"
    ).ok()
    assert in_order(cell) == [
        "one", "<'two'>", "three", "<<Figure", "size", "640x480", "with", "1", "Axes>>", "four",
        "<<IPython.core.display.HTML", "object>>", "<'six'>",
    ]  # fmt: skip
    assert cell.displays[1]["data"]["image/png"].startswith("iVBOR")
    assert cell.displays[2]["data"]["text/html"] == "<b>five</b>"


def test_a_figure_left_open_is_shown_once_at_the_end_of_its_cell_and_not_again(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\nimport matplotlib.pyplot as plt\nplt.plot([3, 4]);").ok()
    assert [list(each["data"]) for each in cell.displays] == [["text/plain", "image/png"]]
    assert shared.run("%%snakepit\n1").ok().displays == []


def test_a_display_is_updated_and_cleared_in_place(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nfrom IPython.display import clear_output\nhandle = display('0 %', display_id=True)\n"
        "handle.update('100 %')\nclear_output(wait=True)\nprint('done')"
    ).ok()
    assert [each.kind for each in cell.messages] == [
        "display_data",
        "update_display_data",
        "clear_output",
        "stream",
    ]
    assert cell.displays[0]["transient"] == cell.updates[0]["transient"]


def test_a_progress_bar_is_redrawn_and_not_a_log(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nfrom tqdm.auto import tqdm\nfor n in tqdm(range(5000), mininterval=0):\n    pass"
    ).ok()
    assert cell.stderr.rstrip().rpartition("\r")[2].startswith("100%")
    assert cell.stderr.count("\n") == 1


def test_logging_warnings_descriptors_children_and_c_code_all_reach_the_cell(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nimport ctypes, logging, os, subprocess, sys, warnings\n"
        "logging.getLogger().warning('logged')\nwarnings.warn('warned')\n"
        "os.write(1, b'written\\n')\nos.write(2, b'complained\\n')\n"
        "subprocess.run([sys.executable, '-c', 'print(\"a child\")'], check=True)\n"
        "ctypes.CDLL(None).puts(b'from C')\nctypes.CDLL(None).fflush(None);"
    ).ok()
    assert sorted(cell.stdout.split("\n")) == ["", "a child", "from C", "written"]
    for said in ("logged", "UserWarning: warned", "complained"):
        assert said in cell.stderr


def test_a_hundred_megabytes_of_text_neither_flood_the_page_nor_stop_the_cell(shared: Notebook) -> None:
    cell = shared.run(
        "%%snakepit\nline = 'x' * 999\nfor _ in range(100_000):\n    print(line)\n'through'", timeout=110
    ).ok()
    assert cell.value == "'through'"
    assert "bytes of stdout left out" in cell.stdout
    assert len(cell.stdout) < 1_000_000


def test_asking_the_user_is_refused_with_the_way_to_do_it(shared: Notebook) -> None:
    cell = shared.run("%%snakepit\ninput('your name: ')")
    assert cell.error is not None
    assert "ask in an ordinary cell and use the value here" in cell.error.text
