"""Lines, names and messages from elsewhere: parsed and shown, never run."""

from __future__ import annotations

import builtins
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from snakepit_nb import options
from snakepit_nb.magics.arguments import parse_cell, parse_line
from snakepit_nb.magics.config import config
from tests.kernels import Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVIL = "__import__('builtins').__dict__.__setitem__('ran_by_a_line',1)"
LINES = [
    f"-o {EVIL}",
    f"-i {EVIL}",
    f"-t {EVIL}",
    f"-n {EVIL}",
    f"--session {EVIL}",
    f"--retry {EVIL}",
    f"$({EVIL})",
    f"`{EVIL}`",
    f"-t 1;{EVIL}",
    f"{{{EVIL}}}",
    "-o " + "x" * 100_000,
    "-t 1e999",
    "-t nan",
    "\x00\x1b[31m\u202e",
    "-o <script>alert(1)</script>",
    "--" * 50,
    "'" * 51,
    "-i \ud800",
]


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    yield
    assert not hasattr(builtins, "ran_by_a_line")
    options.reset()


@pytest.mark.parametrize("line", LINES)
def test_a_hostile_line_is_refused_or_means_only_what_it_says(line: str) -> None:
    for read in (
        parse_cell,
        lambda text: parse_line(f"start {text}"),
        lambda text: config([text], reset=False),
    ):
        try:
            read(line)
        except UsageError as error:
            assert len(str(error)) < 200_500  # noqa: PT017 - either is fine
        finally:
            assert not hasattr(builtins, "ran_by_a_line")


@settings(max_examples=300)
@given(st.text(max_size=80))
def test_any_text_is_a_line_or_a_usage_error(line: str) -> None:
    for read in (parse_cell, parse_line):
        try:
            read(line)
        except UsageError:
            continue


@settings(max_examples=200)
@given(st.sampled_from([*options.Options.sentences(), "nothing"]), st.text(max_size=40))
def test_any_text_is_an_option_s_value_or_an_error(name: str, text: str) -> None:
    try:
        found = options.parsed(name, text)
    except ValueError as error:
        assert name in str(error)  # noqa: PT017 - either is fine
    else:
        assert type(found) is type(getattr(options.Options(), name))


def test_a_thousand_messages_of_a_hostile_page_change_nothing() -> None:
    chance = random.Random(5)  # noqa: S311 - the same next time

    def junk(depth: int = 0) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: chance.random() * 10 ** chance.randint(0, 300),
            lambda: EVIL,
            lambda: "<img src=x onerror=alert(1)>" * chance.randint(1, 20),
            lambda: None,
            lambda: chance.choice(
                ["recycle", "scale", "cancel", "stop", "update", "custom", "request_state"]
            ),
            lambda: [junk(depth + 1) for _ in range(chance.randint(0, 4))] if depth < 3 else [],
            lambda: {str(junk(9))[:40]: junk(depth + 1) for _ in range(3)} if depth < 3 else {},
        ]
        return chance.choice(kinds)()

    with Notebook() as notebook:
        notebook.run("%load_ext snakepit_nb").ok()
        notebook.run("%snakepit start").ok()
        notebook.run("%%snakepit -b -n held\nimport time\ntime.sleep(0.5)\n'kept'").ok()
        pids = notebook.run(
            "from snakepit_nb import get_pool\n[each.pid for each in get_pool().workers()]"
        ).ok()
        client = notebook._client
        assert client is not None
        names = ["jupyter.widget", "jupyter.widget.control", "snakepit", "snakepit_nb", EVIL]
        for _ in range(1_000):
            kind = chance.choice(["comm_open", "comm_msg", "comm_close", "comm_info_request"])
            content = {
                "comm_id": chance.choice(["a", "b", EVIL]),
                "target_name": chance.choice(names),
                "data": junk(),
            }
            client.shell_channel.send(client.session.msg(kind, content))
        assert notebook.run("held.result()").ok().value == "'kept'"
        assert notebook.run("[each.pid for each in get_pool().workers()]").ok().value == pids.value
        assert notebook.run("%%snakepit\n6 * 7").ok().value == "42"
        assert notebook.run("import builtins\nhasattr(builtins, 'ran_by_a_line')").ok().value == "False"
