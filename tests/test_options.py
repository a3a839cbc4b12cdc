"""The options: what is in force, who may change it, and that workers take over what their kernel uses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from snakepit_nb import options
from snakepit_nb.pool.pool import Pool


def test_every_option_has_a_sentence() -> None:
    sentences = options.Options.sentences()
    assert all(sentence.endswith(".") for sentence in sentences.values())


def test_an_override_ends_with_its_block() -> None:
    before = options.current().ahead
    with options.override(ahead=before + 1):
        assert options.current().ahead == before + 1
    assert options.current().ahead == before


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no option named ahed"), options.override(ahed=1):
        pass


def _inline_bytes_here() -> int:
    return options.current().inline_bytes


def test_a_worker_uses_the_options_that_its_pool_was_made_with() -> None:
    with options.override(inline_bytes=77):
        pool = Pool(1, name="options")
    with pool:
        assert pool.submit(_inline_bytes_here).result() == 77


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("text", "expected"), [("0", "False"), ("False", "False"), ("1", "True")])
def test_the_environment_sets_an_option(text: str, expected: str) -> None:
    done = run("from snakepit_nb import options; print(options.current().arena)", SNAKEPIT_NB_ARENA=text)
    assert done.stdout.strip() == expected


def test_what_the_environment_set_is_told_and_comes_back_after_a_change() -> None:
    code = (
        "from snakepit_nb import options\n"
        "said = lambda: next((s.value, s.source) for s in options.settings() if s.name == 'ttl')\n"
        "print(said()); options.change('ttl', 6.0); print(said()); options.reset('ttl'); print(said())"
    )
    done = run(code, SNAKEPIT_NB_TTL="5")
    assert done.stdout.splitlines() == ["(5.0, 'environment')", "(6.0, 'config')", "(5.0, 'environment')"]


def test_a_value_in_the_environment_that_does_not_fit_says_what_was_expected() -> None:
    done = run("import snakepit_nb.options", SNAKEPIT_NB_AHEAD="many")
    assert done.returncode != 0
    assert "SNAKEPIT_NB_AHEAD: ahead: expected a whole number, 1 or more, got 'many'" in done.stderr
