"""Magics of one's own, and the settings that cells begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from traitlets import TraitError

import snakepit_nb
from snakepit_nb import magics
from snakepit_nb.magics.presets import SnakepitMagics, as_line, configured

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def test_a_magic_of_one_s_own_runs_cells_with_its_options(shell: InteractiveShell) -> None:
    shell.push({"hidden": 1})
    snakepit_nb.new_magic("bare", no_capture=True, output=["n"])
    shell.run_cell("%%bare\nn = 'hidden' in globals()\nleft = 2").raise_error()
    assert shell.user_ns["n"] is False
    assert "left" not in shell.user_ns


def test_its_line_may_say_otherwise(shell: InteractiveShell) -> None:
    snakepit_nb.new_magic("slow", timeout=0.001)
    shell.run_cell("%%slow -t 60\nn = 3").raise_error()
    assert shell.user_ns["n"] == 3


def test_an_error_in_it_shows_its_own_line_and_not_another_magic_s(shell: InteractiveShell) -> None:
    snakepit_nb.new_magic("mine", quiet=True)
    error = shell.run_cell("%%mine -t 60\nn = 1\nn / 0").error_in_exec
    assert error is not None
    frame = error.record.frames[-1]
    assert (frame.line, frame.before[0]) == (3, "%%mine -t 60")


def test_its_help_says_what_it_is(shell: InteractiveShell) -> None:
    snakepit_nb.new_magic("on_card", gpu=1, pool="train")
    shown = shell.find_cell_magic("on_card").__doc__
    assert shown.startswith("`%%on_card` is `%%snakepit train --gpu=1`.")
    assert "--map ITEM in ITEMS" in shown


def test_it_can_be_made_anew_and_goes_with_the_extension(shell: InteractiveShell) -> None:
    snakepit_nb.new_magic("mine", quiet=True)
    snakepit_nb.new_magic("mine", copy=True)
    assert "--copy" in shell.find_cell_magic("mine").__doc__
    magics.unload(shell)
    assert shell.find_cell_magic("mine") is None


@pytest.mark.parametrize(
    ("name", "chosen", "sentence"),
    [
        ("time", {"quiet": True}, r"new_magic\('time'\): there is a cell magic of that name; choose another"),
        ("snakepit", {}, "there is a cell magic of that name"),
        ("two words", {}, "it is no name"),
        ("mine", {"gpi": 0}, r"%%snakepit has no option 'gpi'; did you mean gpu\?"),
        ("mine", {"no_progress": True}, "has no option 'no_progress'"),
        ("mine", {"gpu": "first"}, "--gpu takes the number of a card, as in --gpu 0, got 'first'"),
        ("mine", {"timeout": -1}, "takes a number of seconds above zero, got '-1'"),
        ("mine", {"pool": "a b"}, "a pool's name begins with a letter"),
    ],
)
@pytest.mark.usefixtures("shell")
def test_what_it_cannot_be_is_refused(name: str, chosen: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        snakepit_nb.new_magic(name, **chosen)


def test_options_by_name_are_the_line_that_says_the_same() -> None:
    chosen = {
        "pool": "train",
        "inout": ["a", "b"],
        "map": "x in [1, 2]",
        "bg": True,
        "retry": 0,
        "name": None,
    }
    assert as_line(chosen) == "train --inout=a,b --map='x in [1, 2]' --bg --retry=0"


def test_a_setting_holds_for_cells_whose_line_does_not_say(shell: InteractiveShell) -> None:
    shell.run_line_magic("config", "SnakepitMagics.timeout = 0.001")
    assert configured(shell).timeout == 0.001
    failed = shell.run_cell("%%snakepit\nimport time; time.sleep(600)")
    assert isinstance(failed.error_in_exec, snakepit_nb.RequestTimeout)
    shell.run_cell("%%snakepit -t 600\nn = 1").raise_error()
    shell.run_line_magic("config", "SnakepitMagics.timeout = None")
    magics.unload(shell)
    assert not any(isinstance(each, SnakepitMagics) for each in shell.configurables)


def test_a_setting_that_cannot_be_is_refused_and_the_one_before_stays(shell: InteractiveShell) -> None:
    settings = configured(shell)
    settings.pool, settings.timeout = "train", None
    for name, value in (("pool", "a b"), ("timeout", -1.0)):
        with pytest.raises(TraitError, match=r"above zero|begins with a letter"):
            setattr(settings, name, value)
    assert (settings.pool, settings.timeout) == ("train", None)
