from __future__ import annotations

import builtins
import importlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from snakepit_nb.errors import ArrayFacts, describe, pack_exception, unpack_exception
from snakepit_nb.errors.mapping import RULES, map_record
from snakepit_nb.errors.remote import STRUCTURED, OutOfMemory
from snakepit_nb.errors.rules.modules import PACKAGES
from snakepit_nb.errors.rules.rule import ANY, dtype_name, shapes_in
from tests.errors.raised import LIBRARIES, MISSES, RAISED, WITHOUT_A_CARD

if TYPE_CHECKING:
    from collections.abc import Callable

    from snakepit_nb.errors import ErrorRecord
    from snakepit_nb.errors.rules.rule import Mapped, Rule
    from tests.errors.raised import Case, Words

    Cell = Callable[..., BaseException]

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what the libraries warn of before they raise
    pytest.mark.usefixtures("polars_runtime"),
]


def _mapped(error: BaseException) -> Mapped | None:
    return map_record(describe(error))


def _by_library(cell: Cell, library: str, error: BaseException) -> BaseException:
    """The error as a function of that library raises it."""
    space: dict[str, object] = {"__name__": f"{library}.inside", "error": error.with_traceback(None)}
    exec(compile("def fail():\n    raise error", f"<{library}>", "exec"), space)  # noqa: S102 - stands for a library
    return cell("fail()", fail=space["fail"])


def _said(cell: Cell, words: Words) -> BaseException:
    """The words of a library that is not here, from a type of that name in a module of that name."""
    module, _, name = words.kind.rpartition(".")
    if module == "torch":
        kind = getattr(importlib.import_module("torch"), name)
    elif module:
        kind = type(name, (MemoryError,), {"__module__": module})
    else:
        kind = getattr(builtins, name)
    return _by_library(cell, words.library, kind(words.message))


@pytest.mark.parametrize("case", RAISED, ids=lambda case: case.source.replace("\n", "; "))
def test_what_a_library_raises_becomes_its_class_with_its_facts(cell: Cell, case: Case) -> None:
    mapped = _mapped(cell(case.source, **LIBRARIES))
    assert mapped is not None
    assert mapped.cls is case.cls
    assert mapped.facts == case.facts
    _may_be_shown(mapped)


@pytest.mark.parametrize("words", WITHOUT_A_CARD, ids=lambda words: words.message[:60])
def test_what_only_a_card_makes_a_library_say_is_known_by_its_words(cell: Cell, words: Words) -> None:
    mapped = _mapped(_said(cell, words))
    assert mapped is not None
    assert mapped.cls is words.cls
    assert mapped.facts == words.facts
    _may_be_shown(mapped)


def _may_be_shown(mapped: Mapped) -> None:
    assert mapped.suggestion
    assert "\n" not in mapped.suggestion
    for name in mapped.facts:
        assert hasattr(mapped.cls, name)


@pytest.mark.parametrize("source", MISSES)
def test_what_only_resembles_a_rule_is_left_alone(cell: Cell, source: str) -> None:
    assert _mapped(cell(source, **LIBRARIES)) is None


def _applies(rule: Rule, record: ErrorRecord) -> bool:
    match = rule.fits(record)
    return match is not None and rule.make(match, record) is not None


@pytest.fixture(scope="module")
def errors() -> list[tuple[BaseException, ErrorRecord]]:
    """Every error of the table with its record, raised when it is first asked for."""
    return []


def _all(
    cell: Cell, errors: list[tuple[BaseException, ErrorRecord]]
) -> list[tuple[BaseException, ErrorRecord]]:
    if not errors:
        raised = [cell(case.source, **LIBRARIES) for case in RAISED]
        raised += [_said(cell, words) for words in WITHOUT_A_CARD]
        errors += [(error, describe(error)) for error in raised]
    return errors


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.library}-{rule.type}-{rule.pattern[:40]}")
def test_every_rule_is_met_by_an_error_of_the_table_and_by_none_that_is_only_near(
    cell: Cell, errors: list[tuple[BaseException, ErrorRecord]], rule: Rule
) -> None:
    hits = [(error, record) for error, record in _all(cell, errors) if _applies(rule, record)]
    assert hits, "no case in tests/errors/raised.py shows this rule"
    for error, record in hits:
        # The same from the user's own hand, and from another library's.
        assert not _applies(rule, describe(cell("raise error", error=error.with_traceback(None))))
        elsewhere = describe(_by_library(cell, "elsewhere", error))
        assert elsewhere.library == "elsewhere"
        # A type of the library's own is its word, whoever raises it.
        owned = ":" in rule.type and rule.library == rule.type.partition(":")[0]
        assert rule.library == ANY or _applies(rule, elsewhere) == owned
        # Another type with the same words, and the same type with other words around them.
        assert not rule.fits(replace(record, type=type(record.type)("builtins", "UserWarning"), bases=()))
        if record.message and rule.pattern not in {".*", ".+"}:
            assert not rule.fits(replace(record, message=f"so: {record.message}"))


def test_no_rule_stands_in_the_table_twice() -> None:
    seen = [(rule.library, rule.type, rule.pattern) for rule in RULES]
    assert len(seen) == len(set(seen))


def test_every_class_is_met_and_told_with_a_suggestion() -> None:
    assert {case.cls for case in RAISED} == set(STRUCTURED)


def test_no_rule_goes_by_a_part_of_the_message_alone() -> None:
    loose = [rule for rule in RULES if rule.pattern.startswith(".*") and rule.pattern != ".*"]
    assert loose == []
    for rule in RULES:
        literal = re.sub(r"\(\?P<\w+>|\\.|[\[({][^\])}]*[\])}]|[.*+?|()\\]", "", rule.pattern)
        by_type = rule.type in {"KeyError", "MemoryError", "AssertionError"}
        assert by_type or len(literal) >= 8 or rule.library == "pyarrow", rule


def test_a_missing_module_names_the_package_to_install_and_that_workers_are_to_be_recycled(
    cell: Cell,
) -> None:
    error = cell("import sklearn.no_such_thing_at_all")
    assert "%pip" not in (_mapped(error) or pytest.fail("not mapped")).suggestion
    for module, package in PACKAGES.items():
        record = replace(
            describe(cell("import no_such_module")), message=f"No module named '{module}'", close=()
        )
        mapped = map_record(record)
        assert mapped is not None
        if "." not in module:
            assert mapped.facts["package"] == package
            assert mapped.suggestion.startswith(f"%pip install {package}, then %snakepit recycle")


def test_a_module_that_looks_like_a_slip_is_told_before_anything_is_to_be_installed(cell: Cell) -> None:
    mapped = _mapped(cell("import padnas"))
    assert mapped is not None
    assert mapped.suggestion.startswith("did you mean 'pandas'? If not: %pip install padnas")


def test_a_card_s_memory_error_names_the_card_of_the_line_where_the_message_does_not(cell: Cell) -> None:
    words = next(each for each in WITHOUT_A_CARD if each.library == "cupy")
    record = describe(_said(cell, words))
    on_card = replace(record, arrays=(ArrayFacts("x", "cupy", (3,), "float32", "cuda:3"),))
    mapped = map_record(on_card)
    assert mapped is not None
    assert mapped.facts["device"] == "cuda:3"


def test_what_arrives_in_the_kernel_has_the_facts_as_attributes(cell: Cell) -> None:
    data = pack_exception(cell("torch.ones(10**7, 10**7)", **LIBRARIES))
    error = unpack_exception(data, worker_id="w1", pool="p", request_id=1, command="cell")
    assert isinstance(error, OutOfMemory)
    assert isinstance(error, RuntimeError)
    assert (error.asked_bytes, error.device) == (4 * 10**14, "cpu")
    assert 0 < (error.free_bytes or 0) <= psutil.virtual_memory().total


def test_the_table_knows_no_library_by_import() -> None:
    for name in ("mapping", "rules.shapes", "rules.memory", "arrays", "close"):
        module = importlib.import_module(f"snakepit_nb.errors.{name}")
        assert not {"numpy", "pandas", "torch"} & vars(module).keys()


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("(3,) (4,)", ((3,), (4,))),
        ("(2,3) ()", ((2, 3), ())),
        ("(2, 3)", ((2, 3),)),
        ("(2x3 and 4x5)", ((2, 3), (4, 5))),
        ("torch.Size([3]) and [2, 4]", ((3,), (2, 4))),
        ("float32[3]", ((3,),)),
        ("(dim 1) (4)", ()),
        ("f(3)", ()),
        ("einsum(): 0x1f", ()),
    ],
)
def test_shapes_are_told_from_other_parentheses(text: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert shapes_in(text) == shapes


def test_dtypes_are_named_as_numpy_names_them() -> None:
    names = [
        "Double",
        "float",
        "c10::Half",
        "c10::BFloat16",
        "Long",
        "torch.cuda.FloatTensor",
        "int64",
        "<M8[ns]",
    ]
    assert [dtype_name(name) for name in names] == [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "float32",
        "int64",
        "<M8[ns]",
    ]
