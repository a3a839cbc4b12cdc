"""`%snakepit metrics` counts from its first use on, shows what it counted, and serves it."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb import magics, telemetry
from snakepit_nb.exporters.aggregates import Aggregates
from snakepit_nb.magics import metrics
from snakepit_nb.magics.arguments import help_text, parse_line
from snakepit_nb.magics.grammar import flags_of
from snakepit_nb.magics.line import run_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def forget() -> None:
    telemetry.set_ring_size(0)
    telemetry.set_ring_size(telemetry.RING_SIZE)


@pytest.fixture(autouse=True)
def nothing_happened_before() -> None:
    """The bus remembers what other tests did."""
    forget()


def recycled(pool: str, reason: str = "manual") -> None:
    facts = {"pool": pool, "reason": reason, "uptime_seconds": 90.0, "worker_id": f"{pool}-0"}
    telemetry.execute("snakepit.worker.recycled", {}, facts)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - what the magic printed
        return str(answer.read(), "utf-8")


def served(shell: InteractiveShell, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    run_line(shell, line)
    found = re.search(r"http://127\.0\.0\.1:\d+/metrics", capsys.readouterr().out)
    assert found is not None
    return found[0]


def test_it_shows_what_happened_before_and_since_its_first_use(shell: InteractiveShell) -> None:
    recycled("one")
    first = repr(run_line(shell, "metrics"))
    assert re.search(r"^worker\.recycled +pool=one, reason=manual +1 ", first, re.MULTILINE)
    assert re.search(r"^worker\.uptime +pool=one +1 +1\.5 min +1\.5 min +1\.5 min$", first, re.MULTILINE)
    assert re.search(
        r"^counted since \d\d:\d\d:\d\d; of what was before, what the bus still held$", first, re.MULTILINE
    )
    recycled("one")
    recycled("two", "<b>")
    again = run_line(shell, "metrics")
    assert "pool=one, reason=manual      2" in repr(again)
    assert "pool=two" in repr(again)
    page = again._repr_html_()  # type: ignore[attr-defined]
    assert "reason=&lt;b&gt;" in page
    assert "<table" in page


def test_of_one_pool_it_shows_that_alone_and_of_none_it_says_so(shell: InteractiveShell) -> None:
    recycled("one")
    recycled("two")
    shown = repr(run_line(shell, "metrics two"))
    assert shown.startswith("metrics of pool two\n")
    assert "pool=" not in shown
    assert re.search(r"^worker\.recycled +reason=manual +1 ", shown, re.MULTILINE)
    with pytest.raises(UsageError, match="there is no pool 'nobody'"):
        run_line(shell, "metrics nobody")
    forget()
    magics.unload(shell)
    magics.load(shell)
    assert "nothing was counted so far" in repr(run_line(shell, "metrics default"))


def test_it_serves_at_one_address_until_it_is_told_off(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    recycled("one")
    url = served(shell, "metrics --serve", capsys)
    assert 'snakepit_worker_recycled_total{pool="one",reason="manual"}' in read(url)
    assert served(shell, "metrics --serve", capsys) == url
    with pytest.raises(UsageError, match=r"are served at .* already; end that with .* --serve off"):
        run_line(shell, "metrics --serve 1")
    run_line(shell, "metrics --serve off")
    with pytest.raises(urllib.error.URLError):
        read(url)


@pytest.mark.parametrize("way", ["stop", "unload", "pool"])
def test_what_it_serves_ends_with_all_pools_with_the_extension_and_with_its_pool(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    url = served(shell, "metrics default --serve", capsys)
    read(url)
    if way == "stop":
        run_line(shell, "stop --all")
    elif way == "unload":
        magics.unload(shell)
    else:
        telemetry.execute("snakepit.pool.stopped", {}, {"pool": "default", "reason": "shutdown"})
        exporter = metrics._held.exporter
        assert exporter is not None
        exporter.flush()
    with pytest.raises(urllib.error.URLError):
        read(url)
    if way == "pool":
        assert served(shell, "metrics --serve", capsys) != ""


def test_a_taken_port_and_a_missing_library_are_said_in_one_sentence(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = served(shell, "metrics --serve", capsys)
    port = url.split(":")[2].split("/")[0]
    held = metrics._held
    endpoint, held.endpoint = held.endpoint, None
    with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is taken; choose another one"):
        run_line(shell, f"metrics --serve {port}")
    held.endpoint = endpoint
    run_line(shell, "metrics --serve off")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pip install 'snakepit_nb\[prometheus\]'"):
        run_line(shell, "metrics --serve")


def test_aggregates_of_the_users_own_look_the_same(shell: InteractiveShell) -> None:
    with Aggregates() as counted:
        recycled("one")
        assert shell.display_formatter is not None
        shown, _ = shell.display_formatter.format(counted)
    assert "<table" in shown["text/html"]
    assert "worker.recycled" in shown["text/plain"]


@pytest.mark.parametrize(
    ("line", "pool", "serve"),
    [
        ("metrics", None, None),
        ("metrics train", "train", None),
        ("metrics --serve", None, 0),
        ("metrics --serve 9400", None, 9400),
        ("metrics --serve=9400 train", "train", 9400),
        ("metrics --serve train", "train", 0),
        ("metrics train --serve off", "train", "off"),
    ],
)
def test_lines_are_read(line: str, pool: str | None, serve: int | str | None) -> None:
    command = parse_line(line)
    assert (command.kind, command.pool, command.serve) == ("metrics", pool, serve)


def test_help_and_completion_know_it() -> None:
    assert "usage: %snakepit metrics" in help_text("line")
    assert flags_of("metrics") == ["--serve"]
