"""`%snakepit config` and `%snakepit scale`: what is set, what is refused, and from when on it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError

from snakepit_nb import Pool, options, registry
from snakepit_nb.magics.line import run_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    options.reset()


def refusal(shell: InteractiveShell, line: str) -> str:
    with pytest.raises(UsageError) as caught:
        run_line(shell, line)
    return str(caught.value)


def test_all_options_are_shown_with_what_they_mean(shell: InteractiveShell) -> None:
    shown = " ".join(repr(run_line(shell, "config")).split())
    for name, sentence in options.Options.sentences().items():
        assert name in shown
        assert sentence in shown


def test_one_is_set_for_pools_that_start_from_then_on(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_line(shell, "config deaths=2") is None
    assert capsys.readouterr().out == "deaths = 2, for pools that start from now on\n"
    shown = run_line(shell, "config deaths")
    assert repr(shown).splitlines()[0] == "deaths = 2 (set by config; default 5)"
    assert repr(shown).splitlines()[2] == "It can be a whole number, 0 or more."
    assert ">2</td>" in shown._repr_html_()  # type: ignore[attr-defined]
    with Pool(1) as pool:
        assert pool._supervisor.options.deaths == 2
    run_line(shell, "config --reset deaths")
    assert capsys.readouterr().out == "deaths = 5 (the default)\n"
    assert options.current().deaths == 5


def test_pools_that_run_are_said_to_keep_what_they_have(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.start("runs", workers=1)
    run_line(shell, "config deaths=2")
    assert "runs keeps what it has, until it is stopped and started again" in capsys.readouterr().out
    registry.stop("runs")


def test_it_says_who_set_what(shell: InteractiveShell) -> None:
    run_line(shell, "config ahead=3")
    with options.override(deaths=1):
        said = {each.name: each.source for each in options.settings()}
    assert [said[name] for name in ("ahead", "deaths", "nesting")] == ["config", "code", "default"]


def test_sizes_are_written_as_people_do(shell: InteractiveShell) -> None:
    run_line(shell, "config max_memory=1.5GB inline_bytes=8KiB")
    now = options.current()
    assert (now.max_memory, now.inline_bytes) == (1_500_000_000, 8192)
    assert "max_memory = 1500MB (set by config" in repr(run_line(shell, "config max_memory"))


def test_some_are_shown_and_some_set_by_one_line(shell: InteractiveShell) -> None:
    shown = repr(run_line(shell, "config ahead=3 deaths"))
    assert options.current().ahead == 3
    assert shown.startswith("deaths = 5 (the default)")


def test_several_are_set_at_once_or_none_at_all(shell: InteractiveShell) -> None:
    before = options.current()
    run_line(shell, "config when_full = reject  max_queue=1_000 move_tensors=off")
    now = options.current()
    assert (now.when_full, now.max_queue, now.move_tensors) == ("reject", 1000, False)
    assert "max_queue" in refusal(shell, "config deaths=9 max_queue=many")
    assert options.current().deaths == 5
    run_line(shell, "config max_queue=7")
    run_line(shell, "config --reset")
    assert options.current() == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config deth=3", "no option named 'deth'; did you mean deaths?"),
        ("config --reset deth", "no option named 'deth'; did you mean deaths?"),
        ("config DEATHS=3", "no option named 'DEATHS'; did you mean deaths?"),
        ("config SNAKEPIT_NB_DEATHS", "did you mean deaths?"),
        ("config deaths=", "deaths: expected a whole number, 0 or more, got ''"),
        ("config =3", "no option named ''"),
        ("config --reset deaths=3", "--reset takes names alone, got deaths=; leave out the value"),
        (
            "config max_memory=lots",
            "max_memory: expected a number of bytes, or a size like 4GB or 512MiB, got",
        ),
        ("config hard_memory=0.5", "hard_memory: expected a number, 1 or more, got '0.5'"),
        ("config deaths=-1", "deaths: expected a whole number, 0 or more, got '-1'"),
        ("config deaths=2.5", "deaths: expected a whole number, 0 or more, got '2.5'"),
        ("config ahead=0", "ahead: expected a whole number, 1 or more, got '0'"),
        ("config ttl=nan", "ttl: expected a number, 0 or more, got 'nan'"),
        ("config ttl=inf", "ttl: expected a number, 0 or more, got 'inf'"),
        ("config arena_budget=2", "arena_budget: expected a number from 0 to 1, got '2'"),
        ("config arena=maybe", "arena: expected on or off, got 'maybe'"),
        ("config when_full=wait", "when_full: expected one of block, reject, grow, got 'wait'"),
        ("config taint_kinds=oom,fire", "taint_kinds: expected some of segfault, abort"),
        ("config deaths=__import__('os').getpid()", "deaths: expected a whole number"),
        ("scale", "%snakepit scale takes how many workers the pool is to have, got nothing"),
        ("scale 0", "%snakepit scale takes a number of workers, 1 or more, got '0'"),
        ("scale many", "%snakepit scale takes a number of workers, 1 or more, got 'many'"),
        ("scale -1", "%snakepit scale takes a number of workers, 1 or more, got '-1'"),
        ("scale 2 a b", "%snakepit scale takes one pool, got 'b' as well"),
        ("scale 2 nowhere", "there is no pool 'nowhere'"),
    ],
)
def test_what_is_no_option_or_no_value_is_refused(shell: InteractiveShell, line: str, words: str) -> None:
    assert words in refusal(shell, line)


def test_scale_gives_a_pool_more_workers_and_fewer_and_says_so(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = registry.start("scaled", workers=1)
    run_line(shell, "scale 3 scaled")
    pool.start()
    assert len(pool.workers()) == 3
    run_line(shell, "scale 3 scaled")
    run_line(shell, "scale 1 scaled")
    assert pool.max_workers == 1
    registry.stop("scaled")
    assert capsys.readouterr().out.splitlines() == [
        "pool scaled: 3 workers instead of 1; 2 more start now",
        "pool scaled: 3 workers, as before",
        "pool scaled: 1 worker instead of 3; those that go end first what they run",
    ]


def test_a_pool_that_has_not_started_yet_starts_nothing_when_it_is_scaled(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run_line(shell, "scale 7")
    pool = registry.get_pool()
    assert (pool.max_workers, pool.workers()) == (7, [])
    assert capsys.readouterr().out.startswith("pool default: up to 7 workers instead of ")
    registry.stop()


def test_a_pool_of_threads_cannot_be_scaled_and_says_what_to_do(shell: InteractiveShell) -> None:
    registry.start("threaded", workers=2, profile="thread")
    assert "start another pool with more of them" in refusal(shell, "scale 3 threaded")
    registry.stop("threaded")
