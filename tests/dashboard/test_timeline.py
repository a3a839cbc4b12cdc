"""The widget: what it sends and answers, what it is for ipywidgets, and that nothing of it stays behind."""

from __future__ import annotations

import gc
import inspect
import json
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import comm
import ipywidgets
import pytest
import traitlets

from snakepit_nb import telemetry
from snakepit_nb.board import Dashboard
from snakepit_nb.dashboard import publishing
from snakepit_nb.dashboard import timeline as room
from snakepit_nb.dashboard.protocol import FORMATS
from snakepit_nb.errors.types import PoolClosed, PoolError
from snakepit_nb.pool.pool import Pool
from tests.dashboard.comms import RecordedComm
from tests.dashboard.test_controls import garbled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """A notebook's page that remembers what was shown, by display id."""

    watched = True

    def __init__(self) -> None:
        self.shown: dict[str, list[Mapping[str, Any]]] = {}
        self.hooks: list[Any] = []

    def show(self, data: Mapping[str, object], display_id: str) -> None:
        assert display_id not in self.shown
        self.shown[display_id] = [data]

    def replace(self, data: Mapping[str, object], display_id: str) -> None:
        self.shown[display_id].append(data)

    def after_cells(self, function: Any) -> None:
        self.hooks.append(function)

    def no_more(self, function: Any) -> None:
        self.hooks.remove(function)


@pytest.fixture(autouse=True)
def comms(monkeypatch: pytest.MonkeyPatch) -> list[RecordedComm]:
    made: list[RecordedComm] = []
    kind = type("Comm", (RecordedComm,), {"made": made})
    monkeypatch.setattr(comm, "create_comm", kind)
    return made


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    made = Page()
    monkeypatch.setattr(publishing, "publisher", lambda: made)
    return made


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(2, name="board") as made:
        yield made


@pytest.fixture
def board(page: Page, pool: Pool) -> Iterator[Dashboard]:
    del page
    made = Dashboard(pool)
    yield made
    made.close()


def is_key_after(last: int, message: Mapping[str, Any]) -> bool:
    return bool(message["type"] == "batch" and message["seq"] > last and message["key"])


def the_comm(board: Dashboard) -> RecordedComm:
    found = board.comm
    assert isinstance(found, RecordedComm)
    return found


# What it is


def test_it_is_a_dom_widget_with_a_layout_traits_to_observe_and_a_place_in_a_box(board: Dashboard) -> None:
    assert isinstance(board, ipywidgets.DOMWidget)
    board.layout.height = "300px"
    seen: list[Any] = []
    board.observe(lambda change: seen.append(change["new"]), "window")
    board.window = 5.0
    assert seen == [5.0]
    box = ipywidgets.HBox([board])
    assert box.children == (board,)
    box.close()


def test_a_pool_has_one_dashboard_and_asking_again_changes_what_is_asked_for(
    board: Dashboard, pool: Pool
) -> None:
    assert Dashboard(pool, window=7.0) is board
    assert (board.window, board.follow) == (7.0, True)
    assert Dashboard("board") is board
    with pytest.raises(TypeError, match="colour"):
        Dashboard(pool, colour="red")  # type: ignore[call-arg]
    assert {"pool", "mini", "height", "follow", "window"} <= set(inspect.signature(Dashboard).parameters)
    small = Dashboard(pool, mini=True)
    assert small is not board
    assert (small.mini, board.mini) == (True, False)
    small.close()


def test_a_dashboard_is_of_a_pool_that_lives_and_of_nothing_else(pool: Pool) -> None:
    with pytest.raises(TypeError, match=r"of a Pool, of the name of one, or of None .* got 3"):
        Dashboard(3)  # type: ignore[arg-type]
    with pytest.raises(PoolError, match=r"there is no pool 'boardd'.* did you mean 'board'"):
        Dashboard("boardd")
    pool.shutdown()
    with pytest.raises(PoolClosed):
        Dashboard(pool)


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", 0.0), ("window", float("nan")), ("window", "long"), ("height", -1), ("selection", [1.0])],
)
def test_values_that_are_none_are_refused(board: Dashboard, name: str, value: object) -> None:
    with pytest.raises(traitlets.TraitError):
        setattr(board, name, value)


# What is shown


def test_a_display_has_text_a_report_and_the_widget_at_once_and_two_are_views_of_one_model(
    board: Dashboard, page: Page
) -> None:
    board._ipython_display_()
    board._ipython_display_()
    first, second = page.shown.values()
    assert [set(each) for each in first + second] == [{"text/plain", "text/html", VIEW}] * 2
    assert first[0][VIEW] == second[0][VIEW]
    assert "board" in first[0]["text/plain"]


def test_where_nobody_watches_there_is_the_report_alone_brought_up_to_date_after_each_cell(
    board: Dashboard, page: Page, pool: Pool
) -> None:
    page.watched = False
    board.show()
    (shown,) = page.shown.values()
    assert VIEW not in shown[0]
    pool.submit(abs, -1).result()
    for hook in page.hooks:
        hook()
    assert len(shown) == 2
    assert shown[0]["text/html"] != shown[1]["text/html"]


def test_in_a_terminal_it_is_the_report_as_text(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    board = Dashboard(pool)
    board._ipython_display_()
    assert "board" in capsys.readouterr().out
    board.close()


def test_when_the_pool_stops_every_display_becomes_the_report_and_the_model_goes(
    board: Dashboard, page: Page, pool: Pool
) -> None:
    gone = threading.Event()
    board.observe(lambda change: gone.set() if change["new"] is None else None, "comm")
    board.show()
    board.show()
    line = the_comm(board)
    pool.submit(abs, -1).result()
    pool.shutdown()
    assert gone.wait(10)
    for shown in page.shown.values():
        assert [VIEW in each for each in shown] == [True, False]
        assert "text/html" in shown[1]
    assert line.closed
    assert board.ended
    assert page.hooks == []


def test_a_cell_that_stops_the_pool_has_the_report_before_it_ends(
    board: Dashboard, page: Page, pool: Pool
) -> None:
    board.show()
    pool.shutdown()
    for hook in list(page.hooks):
        hook()
    (shown,) = page.shown.values()
    assert VIEW not in shown[-1]


def test_a_view_that_no_display_made_keeps_its_model_when_the_pool_stops(
    board: Dashboard, page: Page, pool: Pool
) -> None:
    told = threading.Event()
    board.observe(lambda _: told.set(), "ended")
    line = the_comm(board)
    line.say({"verb": "hello", "view": "in a box"})
    pool.shutdown()
    for hook in list(page.hooks):
        hook()
    assert told.wait(10)
    assert not line.closed
    last = line.messages("batch")[-1]["seq"] if line.messages("batch") else 0
    line.say({"verb": "hello", "view": "again"})
    line.wait_for(lambda message: message["type"] == "batch" and message["seq"] >= last and message["key"])
    assert board.ended == "the pool has stopped"
    board.close()
    assert line.closed


def test_closing_leaves_the_report_and_nothing_else_and_twice_is_once(
    page: Page, pool: Pool, comms: list[RecordedComm]
) -> None:
    handlers = len(telemetry.list_handlers())
    threads = set(threading.enumerate())
    for _ in range(3):
        board = Dashboard(pool)
        board.show()
        held = weakref.ref(board)
        board.close()
        board.close()
        assert "closed" in repr(board)
        del board
        gc.collect()
        assert held() is None
    assert [VIEW in shown[-1] for shown in page.shown.values()] == [False] * 3
    assert all(each.closed for each in comms)
    assert len(telemetry.list_handlers()) == handlers
    assert [each for each in set(threading.enumerate()) - threads if "timeline" in each.name] == []
    assert room._open == set()
    assert page.hooks == []


def test_a_dashboard_keeps_no_pool_alive(page: Page) -> None:
    del page
    pool = Pool(1, name="short")
    board = Dashboard(pool)
    held = weakref.ref(pool)
    del pool
    gc.collect()
    assert held() is None
    board.close()


# What it says


def test_what_the_pool_does_is_sent_in_numbered_batches(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    pool.submit(abs, -1).result()
    line.wait_for(lambda message: message["type"] == "batch" and message["summary"]["requests"]["ok"] == 1)
    batches = line.messages("batch")
    assert [each["seq"] for each in batches] == list(range(1, len(batches) + 1))
    assert batches[0]["key"]
    assert all(len(each["buffers"]) == 4 for each in batches)


def test_hello_and_resync_are_answered_with_a_keyframe(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    pool.submit(abs, -1).result()
    line.wait_for(lambda message: message["type"] == "batch" and message["summary"]["requests"]["ok"] == 1)
    for asked in ({"verb": "hello", "view": "v"}, {"verb": "resync"}):
        last = line.messages("batch")[-1]["seq"]
        line.say(asked)
        key = line.wait_for(partial(is_key_after, last))
        assert key["rows"] >= 1


def test_details_tell_the_whole_event_and_its_error_as_below_the_cell(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    failed = pool.submit(int, "<b>\u202etwelve")
    assert isinstance(failed.exception(), ValueError)
    line.wait_for(lambda message: message["type"] == "batch" and message["summary"]["requests"]["error"] == 1)
    found = None
    for number in range(100):
        line.say({"verb": "details", "ask": number, "id": number})
        answer = line.answer(number)
        if answer["event"] == "snakepit.request.executed":
            found = answer
    assert found is not None
    assert found["found"]
    assert found["metadata"]["request_id"] == failed.request_id
    assert found["measurements"]["count"] == 1
    assert "invalid literal" in found["text"]
    assert "&lt;b&gt;" in found["html"]
    assert "<b>" not in found["html"]
    assert "\u202e" not in found["html"] + found["text"]


def test_ten_megabytes_of_hostile_text_are_cut_before_they_are_sent(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    hostile = "<script>\u202e\x1b[2J" + "x" * 10_000_000
    failed = pool.request(int, (hostile,), command=hostile)
    assert failed.exception() is not None
    line.wait_for(lambda message: message["type"] == "batch" and message["summary"]["requests"]["error"] == 1)
    for number in range(20):
        line.say({"verb": "details", "ask": number, "id": number})
        line.answer(number)
    for message in line.messages():
        told = json.dumps(
            {name: value for name, value in message.items() if name != "buffers"}, ensure_ascii=False
        )
        assert len(told) + sum(map(len, message["buffers"])) < 200_000
        # The names in the dictionary are for the browser to make visible.
        assert "\u202e" not in told.replace(json.dumps(message.get("strings"), ensure_ascii=False), "")
        assert "<script>" not in message.get("html", "")


def test_details_of_what_is_not_known_say_so(board: Dashboard) -> None:
    line = the_comm(board)
    line.say({"verb": "details", "ask": 5, "id": 4_000_000})
    answer = line.answer(5)
    assert (answer["found"], answer["event"], answer["html"]) == (False, "", "")


# What it does


def test_scale_and_recycle_act_on_the_pool_and_say_so(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    pool.start()
    line.say({"verb": "do", "ask": 1, "action": "scale", "workers": 3})
    assert line.answer(1)["ok"]
    assert pool.max_workers == 3
    before = {each.pid for each in pool.start().workers()}
    line.say({"verb": "do", "ask": 2, "action": "recycle", "worker": None})
    assert line.answer(2)["text"] == "every worker is being replaced"
    line.wait_for(lambda message: "summary" in message and message["summary"]["recycled"] >= 3)
    assert not before & {each.pid for each in pool.workers()}
    line.say({"verb": "do", "ask": 3, "action": "recycle", "worker": "nobody"})
    answer = line.answer(3)
    assert (answer["ok"], "no worker 'nobody'" in answer["text"]) == (False, True)


def test_cancel_ends_a_request_by_its_number(board: Dashboard, pool: Pool) -> None:
    import time

    line = the_comm(board)
    future = pool.submit(time.sleep, 60)
    line.say({"verb": "do", "ask": 1, "action": "cancel", "request": future.request_id})
    assert line.answer(1) == {
        **line.answer(1),
        "ok": True,
        "text": f"request {future.request_id} is cancelled",
    }
    future.wait_settled()
    assert future.cancelled()
    line.say({"verb": "do", "ask": 2, "action": "cancel", "request": future.request_id})
    assert not line.answer(2)["ok"]


def test_stop_answers_first_and_then_the_pool_ends(board: Dashboard, page: Page, pool: Pool) -> None:
    gone = threading.Event()
    board.observe(lambda change: gone.set() if change["new"] is None else None, "comm")
    board.show()
    line = the_comm(board)
    line.say({"verb": "do", "ask": 1, "action": "stop"})
    assert line.answer(1)["ok"]
    assert gone.wait(10)
    assert pool.closed
    kinds = [each["data"].get("content", {}).get("type", each["kind"]) for each in line.sent]
    assert kinds.index("done") < kinds.index("comm_close")
    (shown,) = page.shown.values()
    assert VIEW not in shown[-1]


def test_a_thousand_garbled_messages_do_no_harm(board: Dashboard, pool: Pool) -> None:
    line = the_comm(board)
    pool.submit(abs, -1).result()
    for seed in range(1_000):
        message = garbled(seed)
        # What is in order is not garbled, and would be done.
        if isinstance(message, dict) and str(message.get("verb")) in {"do", "export"}:
            message["more"] = 1
        line.say(message)
    assert pool.submit(abs, -2).result() == 2
    assert not pool.closed
    before = len(line.messages())
    line.say({"verb": "hello", "view": "still here"})
    line.wait_for(lambda message: message["type"] == "batch" and message in line.messages()[before:])
    assert len(board._views) <= room._MOST_VIEWS


@pytest.mark.parametrize("verb", ["do", "export", "details"])
def test_a_refused_question_is_answered_so_that_nobody_waits_for_ever(board: Dashboard, verb: str) -> None:
    line = the_comm(board)
    line.say({"verb": verb, "ask": 9, "evil": 1})
    answer = line.answer(9)
    assert answer["type"] == {"do": "done", "export": "file", "details": "details"}[verb]
    assert answer["text"]
    assert not answer.get("ok", False)


def test_a_browser_sets_what_is_its_to_set_and_nothing_else(board: Dashboard) -> None:
    line = the_comm(board)
    code = board._esm
    line.set(follow=False, window=12.0, selection=[1.0, 2.0], _esm="alert(1)", pool_name="x", ended="x")
    assert (board.follow, board.window, board.selection) == (False, 12.0, [1.0, 2.0])
    assert (board._esm, board.pool_name, board.ended) == (code, "board", "")
    for value in (float("nan"), "long", None, -1, [1]):
        line.set(window=value)
    assert board.window == 12.0


def test_traits_may_be_set_from_many_threads_at_once(board: Dashboard) -> None:
    line = the_comm(board)
    seen: list[float] = []
    board.observe(lambda change: seen.append(change["new"]), "window")

    def browser() -> None:
        for number in range(200):
            line.set(window=1.0 + number)

    def cell() -> None:
        for number in range(200):
            board.window = 1000.0 + number

    threads = [threading.Thread(target=each) for each in (browser, cell, browser, cell)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen
    assert seen[-1] == board.window
    board.window = 3.0
    assert seen[-1] == 3.0


# Files


@pytest.mark.parametrize("kind", ["svg", "html", "trace", "csv", "parquet", "arrow"])
def test_a_view_is_given_a_file(board: Dashboard, pool: Pool, kind: str) -> None:
    pool.submit(abs, -1).result()
    line = the_comm(board)
    line.say({"verb": "export", "ask": 1, "format": kind})
    answer = line.answer(1)
    assert answer["ok"], answer["text"]
    assert answer["name"] == f"board{FORMATS[kind][0]}"
    (data,) = answer["buffers"]
    assert len(data) > 100


def test_export_goes_by_the_ending_and_says_which_there_are(
    board: Dashboard, pool: Pool, tmp_path: Path
) -> None:
    pool.submit(abs, -1).result()
    for ending in (".svg", ".html", ".trace.json", ".json", ".csv", ".parquet", ".arrow"):
        written = board.export(tmp_path / f"run{ending}")
        assert written.stat().st_size > 100
    with pytest.raises(ValueError, match=r"'run.docx' does not say .* \.trace\.json, \.html, \.svg"):
        board.export(tmp_path / "run.docx")


def test_a_stopped_dashboard_still_exports(board: Dashboard, pool: Pool, tmp_path: Path) -> None:
    pool.submit(abs, -1).result()
    pool.shutdown()
    board.close()
    assert "<svg" in board.export(tmp_path / "run.svg").read_text(encoding="utf-8")
