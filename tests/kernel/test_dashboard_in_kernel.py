"""The timeline in a real kernel: what it shows and sends, how much of it, and what is left in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.kernels import CellOutcome, Heard

VIEW = "application/vnd.jupyter.widget-view+json"
MOST_A_SECOND = 20


class Board:
    """A dashboard that was displayed, and the only view of it: this test."""

    def __init__(self, notebook: Notebook, code: str = "%snakepit dashboard") -> None:
        self.notebook = notebook
        self.cell = notebook.run(code).ok()
        (shown,) = self.cell.displays
        self.bundle: Mapping[str, Any] = shown["data"]
        self.display_id = shown["transient"]["display_id"]
        self.model = self.bundle[VIEW]["model_id"]

    def say(self, **message: object) -> None:
        self.notebook.say(self.model, message)

    def looks(self, on: bool = True) -> None:  # noqa: FBT001, FBT002 - as the message has it
        self.say(verb="visible", view="test", on=on)

    def messages(self, kind: str | None = None) -> list[Heard]:
        return [
            each
            for each in list(self.notebook.heard)
            if each.content.get("comm_id") == self.model and each.told and kind in {None, each.told["type"]}
        ]

    def wait_for(self, wanted: Callable[[Mapping[str, Any]], object], what: str) -> Mapping[str, Any]:
        found: list[Mapping[str, Any]] = []

        def there() -> bool:
            found.extend(each.told for each in self.messages() if wanted(each.told))
            return bool(found)

        self.notebook.wait_until(there, what=what)
        return found[0]

    def replaced(self) -> list[Mapping[str, Any]]:
        return [
            each.content["data"]
            for each in list(self.notebook.heard)
            if each.kind == "update_display_data"
            and each.content["transient"]["display_id"] == self.display_id
        ]

    @property
    def closed(self) -> bool:
        heard = list(self.notebook.heard)
        return any(each.kind == "comm_close" and each.content["comm_id"] == self.model for each in heard)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Notebook]:
    with Notebook() as made:
        made.run("%load_ext snakepit_nb\nimport snakepit_nb").ok()
        yield made


@pytest.fixture
def notebook(kernel: Notebook) -> Iterator[Notebook]:
    """The kernel with a pool of this test's own; the timelines of earlier ones have ended."""
    kernel.run("%snakepit start -w 2").ok()
    yield kernel
    kernel.run("%snakepit stop --all").ok()


def kinds(cell: CellOutcome) -> list[str]:
    return [each.kind for each in cell.messages]


def test_a_dashboard_is_shown_live_beside_its_report_in_one_bundle(notebook: Notebook) -> None:
    board = Board(notebook)
    assert set(board.bundle) == {"text/plain", "text/html", VIEW}
    assert kinds(board.cell) == ["display_data"]
    assert "default" in board.bundle["text/plain"]
    assert "<script" not in board.bundle["text/html"]
    assert len(board.bundle["text/html"]) < 60_000
    again = Board(notebook, "import snakepit_nb\nsnakepit_nb.Dashboard()")
    assert (again.model, again.display_id != board.display_id) == (board.model, True)


def test_what_runs_is_told_under_load_in_few_messages_and_lands_in_no_cell(notebook: Notebook) -> None:
    board = Board(notebook)
    board.looks()
    load = "pool = snakepit_nb.get_pool()\nimport time\nuntil = time.monotonic() + 3\nasked = 0\n"
    load += "while time.monotonic() < until:\n    list(pool.map(abs, range(200)))\n    asked += 200\nasked"
    cell = notebook.run(load).ok()
    asked = int(cell.value or 0)
    later = notebook.run("'later'").ok()
    board.wait_for(
        lambda told: told["type"] == "batch" and told["summary"]["requests"]["ok"] >= asked,
        f"all {asked} requests to be told",
    )
    while_it_ran = [each for each in board.messages() if each.parent == cell.msg_id]
    times = [each.at for each in while_it_ran]
    for at in times:
        assert sum(at <= each < at + 1 for each in times) <= MOST_A_SECOND
    batches = board.messages("batch")
    assert [each.told["seq"] for each in batches] == list(range(1, len(batches) + 1))
    size = sum(each.size for each in while_it_ran)
    print(f"{asked} requests: {len(while_it_ran)} messages, {size} bytes, {size / asked:.0f} a request")
    assert size < 100 * asked
    assert kinds(cell) == ["execute_result"]
    assert kinds(later) == ["execute_result"]


def test_it_is_told_while_a_cell_blocks_the_kernel(notebook: Notebook) -> None:
    board = Board(notebook)
    blocking = notebook.start(
        "%%snakepit\nimport time\ntime.sleep(1)\nopen('go', 'w').close()\ntime.sleep(2)"
    )
    board.wait_for(
        lambda told: told["type"] == "batch" and told["open"] and told["summary"]["workers"]["busy"] == 1,
        "the running request",
    )
    assert not blocking.idle
    notebook.finish(blocking)


def test_told_that_nobody_looks_it_sends_a_summary_once_a_second_and_nothing_else(notebook: Notebook) -> None:
    board = Board(notebook)
    board.looks(on=False)
    board.say(verb="details", ask=1, id=0)
    board.wait_for(lambda told: told.get("ask") == 1, "the answer after it")
    before = len(board.messages())
    cell = notebook.run(
        "import snakepit_nb, time\npool = snakepit_nb.get_pool()\nuntil = time.monotonic() + 3.5\n"
        "while time.monotonic() < until:\n    list(pool.map(abs, range(20)))"
    ).ok()
    told = [each.told["type"] for each in board.messages()[before:] if each.parent == cell.msg_id]
    assert set(told) == {"summary"}
    assert len(told) in {2, 3, 4}
    board.looks()
    board.wait_for(
        lambda told: told["type"] == "batch" and told["summary"]["requests"]["ok"] > 20, "what was missed"
    )


@pytest.mark.parametrize("stop", ["%snakepit stop", "snakepit_nb.get_pool().shutdown()", "board.close()"])
def test_the_report_takes_its_place_before_the_cell_that_ends_it_is_over(
    notebook: Notebook, stop: str
) -> None:
    board = Board(notebook, "board = snakepit_nb.Dashboard()\nboard")
    notebook.run("%%snakepit -n greeting\nprint('hello')").ok()
    cell = notebook.run(stop).ok()
    (update,) = cell.updates
    assert update["transient"]["display_id"] == board.display_id
    assert set(update["data"]) == {"text/plain", "text/html"}
    assert "1 request," in update["data"]["text/plain"]
    notebook.wait_until(lambda: board.closed, what="the model to be closed")
    assert board.replaced() == [update["data"]]
    assert set(notebook.run("board").ok().displays[0]["data"]) == {"text/plain", "text/html"}


@pytest.mark.parametrize("end", ["shut_down", "restart"])
def test_the_report_takes_its_place_when_the_kernel_ends(own: Notebook, end: str) -> None:
    board = Board(own)
    own.run("%%snakepit\n1").ok()
    if end == "restart":
        own.start("get_ipython().kernel.do_shutdown(True)\nraise SystemExit")
    else:
        own.shut_down()
    own.wait_until(board.replaced, what="the report")
    (data,) = board.replaced()
    assert set(data) == {"text/plain", "text/html"}
    assert "1 request," in data["text/plain"]


def test_the_stop_of_a_view_ends_the_pool_and_leaves_the_report(notebook: Notebook) -> None:
    board = Board(notebook)
    board.say(verb="do", ask=3, action="stop")
    assert board.wait_for(lambda told: told.get("ask") == 3, "the answer")["ok"]
    notebook.wait_until(lambda: board.closed, what="the model to be closed")
    assert [set(each) for each in board.replaced()] == [{"text/plain", "text/html"}]
    assert notebook.run("import snakepit_nb\nsnakepit_nb.pools()").ok().value == "[]"


def test_scale_recycle_and_cancel_work_from_a_view(notebook: Notebook) -> None:
    board = Board(notebook)
    board.say(verb="do", ask=1, action="scale", workers=3)
    board.wait_for(lambda told: told.get("ask") == 1 and told["ok"], "the answer to scale")
    board.wait_for(lambda told: "summary" in told and told["summary"]["workers"]["idle"] == 3, "3 workers")
    board.say(verb="do", ask=2, action="recycle", worker=None)
    board.wait_for(lambda told: told.get("ask") == 2 and told["ok"], "the answer to recycle")
    board.wait_for(lambda told: "summary" in told and told["summary"]["recycled"] == 3, "3 new workers")
    notebook.run("%%snakepit -b -n nap\nimport time\ntime.sleep(60)").ok()
    running = board.wait_for(lambda told: told["type"] == "batch" and told["open"], "the running request")
    board.say(verb="do", ask=4, action="cancel", request=running["open"][0][6])
    board.wait_for(lambda told: told.get("ask") == 4 and told["ok"], "the answer to cancel")
    board.wait_for(
        lambda told: "summary" in told and told["summary"]["requests"]["cancelled"] == 1, "it to be cancelled"
    )


def test_what_a_page_says_is_never_output_of_a_cell(notebook: Notebook) -> None:
    before = len(notebook.cells())
    board = Board(notebook)
    said: list[object] = [{"verb": "eval"}, {"verb": "do", "ask": 1}, [], None, "x"]
    for message in [*said, {"verb": "details", "ask": 2}]:
        notebook.say(board.model, message)
    board.wait_for(lambda told: told.get("ask") == 2, "the last answer")
    assert notebook.run("1").ok().messages[0].kind == "execute_result"
    assert [kinds(each) for each in notebook.cells()][before:] == [["display_data"], ["execute_result"]]


def test_many_runs_show_the_timeline_while_they_go_on_and_its_report_then(notebook: Notebook) -> None:
    cell = notebook.run(
        "%%snakepit --map n in range(6) --progress timeline\nimport time\ntime.sleep(0.05)\nn"
    ).ok()
    assert cell.value == "[0, 1, 2, 3, 4, 5]"
    assert kinds(cell) == ["display_data", "update_display_data", "execute_result"]
    assert set(cell.displays[0]["data"]) == {"text/plain", "text/html", VIEW}
    (update,) = cell.updates
    assert set(update["data"]) == {"text/plain", "text/html"}
    assert "6 items in" in update["data"]["text/plain"]
    assert update["transient"] == cell.displays[0]["transient"]
    model = cell.displays[0]["data"][VIEW]["model_id"]
    notebook.wait_until(
        lambda: any(
            each.kind == "comm_close" and each.content["comm_id"] == model for each in list(notebook.heard)
        ),
        what="the model to be closed",
    )


def test_many_runs_in_the_background_keep_their_timeline_below_their_own_cell(notebook: Notebook) -> None:
    cell = notebook.run(
        "%%snakepit -b -n sweep --map n in range(4) --progress timeline\nimport time\ntime.sleep(0.3)\nn"
    ).ok()
    other = notebook.run("sweep.result()").ok()
    notebook.wait_until(lambda: cell.displays and VIEW in cell.displays[-1]["data"], what="the timeline")
    (shown,) = [each for each in cell.displays if VIEW in each["data"]]
    notebook.wait_until(
        lambda: any(
            each.kind == "update_display_data" and each.content["transient"] == shown["transient"]
            for each in list(notebook.heard)
        ),
        what="its report",
    )
    assert [each for each in other.displays if VIEW in each["data"]] == []


def test_the_bar_is_as_it_was_where_no_timeline_is_asked_for(notebook: Notebook) -> None:
    cell = notebook.run("%%snakepit --map n in range(3) --progress\nn").ok()
    assert "progressbar" in cell.displays[0]["data"]["text/html"]
    assert notebook.run("%%snakepit --map n in range(3) --no-progress\nn").ok().displays == []
    refused = notebook.run("%%snakepit --map n in range(3) --progress=pie\nn")
    assert "--progress takes bar or timeline, got 'pie'" in refused.stderr


def test_a_dashboard_of_no_pool_says_which_there_are(notebook: Notebook) -> None:
    assert "there is no pool 'defalt'" in notebook.run("%snakepit dashboard defalt").stderr
    assert notebook.completions("%snakepit dashboard de") == ["default"]
    assert "dashboard" in notebook.completions("%snakepit da")
