from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError

from snakepit_nb.magics.arguments import (
    CellOptions,
    LineCommand,
    help_text,
    parse_cell,
    parse_found,
    parse_line,
)
from snakepit_nb.magics.values import Output


def refusal(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_cell(line)
    return str(caught.value)


def line_refusal(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_line(line)
    return str(caught.value)


# %%snakepit


def test_an_empty_line_asks_for_nothing_special() -> None:
    assert parse_cell("") == parse_cell("   # only a comment") == CellOptions()


def test_all_options_together() -> None:
    line = "gpu -i a,b -o x,best=y --inout big -t 2.5 -b -n 'my job' -q"
    assert parse_cell(line) == CellOptions(
        pool="gpu",
        inputs=("a", "b"),
        outputs=(Output("x", "x"), Output("best", "y")),
        inout=("big",),
        timeout=2.5,
        background=True,
        name="my job",
        capture=True,
        quiet=True,
    )


def test_the_long_forms_are_the_short_ones() -> None:
    long = parse_cell("--input a --output x --timeout 3 --bg --name n --quiet p")
    assert long == parse_cell("p -i a -o x -t 3 -b -n n -q")


@pytest.mark.parametrize(
    "line",
    [
        "-i a,b", "-i a, b", "-i a , b", "-i a ,b", "-ia,b", "-i=a,b", "-i= a, b", "--input=a,b", "-i a,b,",
        "-i a -i b", "-i a,b -i a", "-i a,a,b", "-i 'a, b'", '-i "a","b"', "-i a,b # and why",
    ],
)  # fmt: skip
def test_a_list_of_names_may_be_written_in_many_ways(line: str) -> None:
    assert parse_cell(line) == CellOptions(inputs=("a", "b"))


@pytest.mark.parametrize(
    "line",
    ["-o y=x", "-o 'y = x'", "-o y = x", "-o y =x", "-o y= x", "-oy=x", "-o=y=x", "--output=y=x", "-o y=x,"],
)
def test_a_renamed_output_may_be_written_in_many_ways(line: str) -> None:
    assert parse_cell(line) == CellOptions(outputs=(Output("y", "x"),))


def test_a_pool_may_follow_a_list() -> None:
    assert parse_cell("-i a,b gpu") == CellOptions(pool="gpu", inputs=("a", "b"))
    assert parse_cell("-n a, gpu") == CellOptions(pool="gpu", name="a,")


def test_an_empty_list_in_quotes_means_none_at_all() -> None:
    assert parse_cell("-i '' -o ''") == CellOptions(inputs=(), outputs=())


def test_switches_may_be_written_in_one_word() -> None:
    assert parse_cell("-bq") == parse_cell("-b -q") == parse_cell("-b -b -q")
    assert parse_cell("-bt 5") == parse_cell("-b -t 5")


def test_one_value_may_come_back_under_two_names() -> None:
    assert parse_cell("-o a=x,b=x,b=x").outputs == (Output("a", "x"), Output("b", "x"))


def test_inout_may_repeat_a_name_of_i_or_o() -> None:
    assert parse_cell("-i x -o x --inout x") == CellOptions(
        inputs=("x",), outputs=(Output("x", "x"),), inout=("x",)
    )


def test_names_are_any_that_python_takes_and_in_the_form_that_python_keeps() -> None:
    assert parse_cell("-i größe,π,_x,match").inputs == ("größe", "π", "_x", "match")
    assert parse_cell("-i \N{LATIN SMALL LIGATURE FI}t").inputs == ("fit",)


def test_a_hash_within_a_word_or_quotes_is_no_comment() -> None:
    assert parse_cell("-n run#3").name == "run#3"
    assert parse_cell("-n 'run # 3' # it's the third").name == "run # 3"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("-t soon", "-t takes a number of seconds above zero, got 'soon'"),
        ("-t 0", "-t takes a number of seconds above zero, got '0'"),
        ("-t -5", "-t takes a number of seconds above zero, got '-5'"),
        ("-t nan", "-t takes a number of seconds above zero, got 'nan'"),
        ("--timeout=-inf", "-t takes a number of seconds above zero, got '-inf'"),
        ("-t 1e999", "-t takes a number of seconds above zero, got '1e999'"),
        ("-t", "-t takes a number of seconds above zero, got nothing"),
        ("-t -b", "-t takes a number of seconds above zero, got nothing"),
        ("-t 1 -t 2", "-t is given twice in %%snakepit; keep one of them"),
        ("-i", "-i takes names, as in -i a,b, got nothing"),
        ("-i= -b", "-i takes names, got nothing; for none at all write -i ''"),
        ("-i ,b", "-i takes names joined by single commas, got ',b'"),
        ("-i a,,b", "-i takes names joined by single commas, got 'a,,b'"),
        ("-i ,", "-i takes names joined by single commas, got ','"),
        ("-i 1x", "-i takes names, as in -i a,b, got '1x'"),
        ("-i x[0]", "-i takes names, as in -i a,b, got 'x[0]'; give the value a name first"),
        ("-i a.b", "-i takes names, as in -i a,b, got 'a.b'; give the value a name first"),
        ("-i a=b", "-i takes names, as in -i a,b, got 'a=b'"),
        ("--inout class", "--inout takes names, and 'class' is a word of Python's own"),
        ("-o y=", "-o takes names, as in -o x,best=y, got 'y=' with one side of its = missing"),
        ("-o =y", "-o takes names, as in -o x,best=y, got '=y' with one side of its = missing"),
        ("-o a=x,a=y", "-o gives a two values, x and y; keep one of them"),
        ("-o a -o a=y", "-o gives a two values, a and y; keep one of them"),
        ("--inout a -o a=y", "--inout a and -o a=y both set a; keep one of them"),
        ("--no-capture -i a", "--no-capture gives the cell nothing, -i gives it a; leave one of them out"),
        (
            "--no-capture --inout a",
            "--no-capture gives the cell nothing, --inout gives it a; leave one of them out",
        ),
        ("-n ''", "-n takes a name to call the job, got ''"),
        ("-n", "-n takes a name, got nothing"),
        ("--bg=yes", "-b takes no value; leave out what follows its ="),
        ("a b", "%%snakepit takes one pool, got 'b' as well; join an option's names by commas"),
        ("-i 'a", "%%snakepit has a quotation mark or a backslash that nothing closes or follows: -i 'a"),
        ("--no-captur", "%%snakepit has no option --no-captur; did you mean --no-capture?"),
        ("--Input a", "%%snakepit has no option --Input; did you mean --input?"),
        ("-timeout 3", "%%snakepit has no option -timeout; did you mean --timeout?"),
        ("-name x", "%%snakepit has no option -name; did you mean --name?"),
        ("-bg", "%%snakepit has no option -bg; did you mean --bg?"),
        ("--help", "%%snakepit has no option --help; help is at %%snakepit?"),
    ],
)  # fmt: skip
def test_a_bad_line_gets_one_sentence_that_says_what_to_do(line: str, sentence: str) -> None:
    assert refusal(line) == sentence


@pytest.mark.parametrize("line", ["--zzz", "-x", "--", "gpu -- b"])
def test_an_option_like_none_that_there_is_gets_the_list_of_those(line: str) -> None:
    assert "it has -i, --input, -o" in refusal(line)


@pytest.mark.parametrize("line", ["a,b", "$x", "1st", "-", "'two words'", "../up"])
def test_a_pool_name_that_could_be_none_is_refused(line: str) -> None:
    assert refusal(line).startswith("a pool's name begins with a letter")


def test_names_where_a_pool_stands_are_told_where_they_belong() -> None:
    assert refusal("a,b").endswith("names that go in or out follow -i or -o")


def test_an_option_of_a_later_version_is_not_called_unknown() -> None:
    assert refusal("--engine dask") == "--engine is not available yet in this version of %%snakepit"


def test_abbreviated_options_are_not_guessed() -> None:
    assert "did you mean --inout?" in refusal("--inou x")
    assert "has no option --time" in refusal("--time 3")


def test_one_line_leaves_nothing_behind_for_the_next() -> None:
    refusal("-i a -i b -t 3 --nope")
    assert parse_cell("-i c").inputs == ("c",)
    assert parse_cell("") == CellOptions()


IDENTIFIERS = st.text("abcxyz_éπ9", min_size=1, max_size=6).filter(
    lambda s: s.isidentifier() and not keyword.iskeyword(s)
)
SPACES = st.sampled_from(["", " ", "  ", "\t"])


@given(st.lists(IDENTIFIERS, min_size=1, max_size=5), st.data())
def test_every_list_of_names_is_read_in_its_order_and_once(names: list[str], data: st.DataObject) -> None:
    text = names[0] + "".join(f"{data.draw(SPACES)},{data.draw(SPACES)}{name}" for name in names[1:])
    assert parse_cell(f"-i {text} -b").inputs == tuple(dict.fromkeys(names))


@given(st.text(st.sampled_from("-io=, tbnq'\"#ax15.\\"), max_size=20))
def test_every_text_is_either_a_line_or_a_usage_error(line: str) -> None:
    for parse in (parse_cell, parse_line):
        try:
            parse(line)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most texts are refused, some are lines


# %snakepit


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", LineCommand("status")),
        ("status", LineCommand("status")),
        ("status gpu", LineCommand("status", "gpu")),
        ("start", LineCommand("start")),
        ("start gpu -w 2 --preload numpy,os.path", LineCommand("start", "gpu", 2, ("numpy", "os.path"))),
        ("start --workers=3 --preload numpy, pandas", LineCommand("start", None, 3, ("numpy", "pandas"))),
        ("start gpu  # two are enough", LineCommand("start", "gpu")),
        ("stop", LineCommand("stop")),
        ("stop gpu", LineCommand("stop", "gpu")),
        ("stop --all", LineCommand("stop", every=True)),
    ],
)
def test_a_subcommand_is_read_with_its_arguments(line: str, command: LineCommand) -> None:
    assert parse_line(line) == command


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "x.sum() + 1",
        "-x",
        "(status)",
        "status.code",
        "start(3)",
        "await f()",
        "'a b'",
        'f("x") # why',
        "[i for i in x]",
    ],
)
def test_what_begins_with_no_subcommand_is_an_expression(line: str) -> None:
    assert parse_line(f" {line} ") == LineCommand("expression", expression=line)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("start -w 0", "-w takes a number of workers, 1 or more, got '0'"),
        ("start -w -1", "-w takes a number of workers, 1 or more, got '-1'"),
        ("start -w two", "-w takes a number of workers, 1 or more, got 'two'"),
        ("start -w 2.5", "-w takes a number of workers, 1 or more, got '2.5'"),
        ("start -w", "-w takes a number of workers, 1 or more, got nothing"),
        ("start --ttl 0", "--ttl takes a number of seconds above zero, got '0'"),
        ("start --max-requests some", "--max-requests takes a number of requests, 1 or more, got 'some'"),
        ("start --max-memory lots", "--max-memory takes a size, as in --max-memory 4GB, got 'lots'"),
        ("start --max-memory", "--max-memory takes a size, as in --max-memory 4GB, got nothing"),
        ("recycle --all", "%snakepit recycle has no option --all; it has none"),
        ("start --preload 1a", "--preload takes modules, as in --preload numpy,pandas, got '1a'"),
        ("start --preload .a", "--preload takes modules, as in --preload numpy,pandas, got '.a'"),
        ("start a b", "%snakepit start takes one pool, got 'b' as well; join an option's names by commas"),
        ("stop a --all", "%snakepit stop takes a pool or --all, got a and --all; keep one of them"),
        ("stop --al", "%snakepit stop has no option --al; did you mean --all?"),
        ("status --all", "%snakepit status has no option --all; it has none"),
        (
            "metrics a b",
            "%snakepit metrics takes one pool, got 'b' as well; join an option's names by commas",
        ),
        ("metrics --serve 70000", "--serve takes a port from 0 to 65535, or off, got '70000'"),
        ("metrics --serve -1", "--serve takes a port from 0 to 65535, or off, got '-1'"),
        ("metrics --serve --serve", "--serve is given twice in %snakepit metrics; keep one of them"),
        ("metrics --serv", "%snakepit metrics has no option --serv; did you mean --serve?"),
        ("dashboard --al", "%snakepit dashboard has no option --al; it has none"),
        ("dashboard --all", "%snakepit dashboard has no option --all; it has none"),
        ("jobs x", "%snakepit jobs takes nothing by itself, got 'x'; leave it out"),
        ("jobs --wait 0", "--wait takes a number of seconds above zero, got '0'"),
        ("jobs --wait 1 --wait 2", "--wait is given twice in %snakepit jobs; keep one of them"),
        ("cancel", "%snakepit cancel takes the name of a job, the number of its cell, or --all, got nothing"),
        (
            "cancel a --all",
            (
                "%snakepit cancel takes the name of a job, the number of its cell, or --all, "
                "got a and --all; keep one of them"
            ),
        ),
        (
            "x = 1",
            (
                "%snakepit evaluates one expression, and 'x = 1' is a statement; "
                "put statements in a %%snakepit cell"
            ),
        ),
        (
            "strat gpu",
            (
                "%snakepit evaluates one expression, and 'strat gpu' is not one (invalid syntax); "
                "did you mean %snakepit start?"
            ),
        ),
        ("stop 'a", "%snakepit stop has a quotation mark or a backslash that nothing closes or follows: 'a"),
    ],
)  # fmt: skip
def test_a_bad_subcommand_gets_one_sentence_that_says_what_to_do(line: str, sentence: str) -> None:
    assert line_refusal(line) == sentence


@pytest.mark.parametrize("line", ["status == 3", "start + 1", "stop - 1", "status , x"])
def test_a_variable_that_shares_a_subcommands_name_gets_the_way_to_evaluate_it(line: str) -> None:
    assert line_refusal(line).endswith(f"to evaluate an expression that begins so, write %snakepit ({line})")
    assert parse_line(f"({line})").expression == f"({line})"


def test_help_is_made_from_the_parsers() -> None:
    text = help_text("cell")
    for option in (
        "-i",
        "--input",
        "-o",
        "--inout",
        "-t SECONDS",
        "--bg",
        "-n",
        "--no-capture",
        "--quiet",
        "POOL",
    ):
        assert option in text
    line = help_text("line")
    for part in (
        "%snakepit start",
        "--workers",
        "--preload",
        "%snakepit stop",
        "--all",
        "%snakepit status",
        "EXPRESSION",
    ):
        assert part in line


def test_a_card_may_be_named_or_not_and_a_pool_stands_on_either_side_of_it() -> None:
    assert parse_cell("--gpu").gpu == 0
    assert parse_cell("--gpu 1 train") == CellOptions(pool="train", gpu=1)
    assert parse_cell("train --gpu") == CellOptions(pool="train", gpu=0)
    assert parse_cell("--gpu=3 -q") == CellOptions(quiet=True, gpu=3)
    assert "--gpu takes the number of a card, as in --gpu 0, got 'a'" in refusal("--gpu=a")


def test_arrays_go_along_in_one_way_only() -> None:
    assert parse_cell("--readonly").arrays == "readonly"
    assert parse_cell("--copy").arrays == "copy"
    assert "keep one of them" in refusal("--copy --readonly")


def test_what_a_line_says_goes_before_what_stood_before_it() -> None:
    before = (parse_found("train -t 30 --copy --gpu 1"), parse_found("other -t 60 -q"))
    assert parse_cell("", *before) == CellOptions(
        pool="train", timeout=30.0, quiet=True, arrays="copy", gpu=1
    )
    chosen = parse_cell("mine -t 5 --readonly --gpu 0", *before)
    assert chosen == CellOptions(pool="mine", timeout=5.0, quiet=True, arrays="readonly", gpu=0)


@pytest.mark.parametrize(
    ("line", "progress", "pool"),
    [
        ("--map x in xs", None, None),
        ("--map x in xs --progress", True, None),
        ("--progress --map x in xs", True, None),
        ("--map x in xs --progress bar", True, None),
        ("--map x in xs --progress timeline", "timeline", None),
        ("--all --progress=timeline train", "timeline", "train"),
        ("--all --progress train", True, "train"),
        ("--all --no-progress", False, None),
    ],
)
def test_progress_is_a_bar_or_a_timeline_and_a_pool_behind_it_stays_one(
    line: str, progress: object, pool: str | None
) -> None:
    chosen = parse_cell(line)
    assert (chosen.progress, chosen.pool) == (progress, pool)


def test_progress_of_another_kind_is_refused() -> None:
    for line in ("--all --progress=pie", "--all --progress=", "--all --progress timeline --progress bar"):
        with pytest.raises(UsageError, match="--progress"):
            parse_cell(line)
