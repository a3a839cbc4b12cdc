"""What is sent of a worker's events: the longest prefix rules, spans stay whole, and shares are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import events
from snakepit_nb.errors.types import ProtocolError
from snakepit_nb.wire.sampling import ALL, Rules, Sampler

PARTS = st.sampled_from(["app", "step", "start", "stop", "exception", "x"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map(tuple)
RATES = st.floats(0, 1)
RULES = st.dictionaries(st.lists(PARTS, max_size=4).map(tuple), RATES, max_size=6)


def ruled(rates: dict[tuple[str, ...], float]) -> Rules:
    rules = ALL
    for prefix, rate in rates.items():
        rules = rules.set(prefix, rate)
    return rules


@given(RULES, NAMES)
def test_the_longest_prefix_that_fits_decides(
    rates: dict[tuple[str, ...], float], name: tuple[str, ...]
) -> None:
    fitting = [prefix for prefix in rates if name[: len(prefix)] == prefix]
    expected = rates[max(fitting, key=len)] if fitting else 1.0
    assert ruled(rates).rate(name) == expected


@given(RULES)
def test_rules_arrive_as_they_were_sent(rates: dict[tuple[str, ...], float]) -> None:
    assert Rules.unpack(ruled(rates).pack()) == ruled(rates)


@given(RULES, NAMES, st.lists(st.text(), max_size=30, unique=True))
def test_a_span_is_never_split(
    rates: dict[tuple[str, ...], float], name: tuple[str, ...], contexts: list[str]
) -> None:
    sampler = Sampler(ruled(rates))
    begun = [sampler.rate((*name, "start"), {"telemetry_span_context": each}) for each in contexts]
    for end in ("stop", "exception"):
        assert begun == [sampler.rate((*name, end), {"telemetry_span_context": each}) for each in contexts]


@given(st.integers(1, 50), st.integers(0, 500))
def test_every_nth_of_a_name_is_sent_beginning_with_the_first(one_in: int, count: int) -> None:
    sampler = Sampler(ALL.set("app", 1 / one_in))
    sent = [number for number in range(count) if sampler.rate(("app", "step"), {})]
    assert sent == list(range(0, count, one_in))


@given(RATES, st.integers(1, 300))
def test_the_share_is_kept(rate: float, count: int) -> None:
    sampler = Sampler(ALL.set("app", rate))
    for name in (("app", "a"), ("app", "b")):
        sent = sum(bool(sampler.rate(name, {})) for _ in range(count))
        assert abs(sent - rate * count) <= 1


def test_about_so_many_spans_are_sent() -> None:
    sampler = Sampler(ALL.set("app", 0.25))
    sent = sum(
        bool(sampler.rate(("app", "load", "stop"), {"telemetry_span_context": f"{number:016x}"}))
        for number in range(4000)
    )
    assert 800 < sent < 1200


def test_what_tells_of_losses_is_always_sent() -> None:
    sampler = Sampler(ALL.set("", 0).set("snakepit.telemetry.dropped", 0))
    for name in (events.TELEMETRY_DROPPED, events.TELEMETRY_HANDLER_FAILURE):
        assert sampler.rate(name, {}) == 1
        assert sampler.passes(name)
    assert not sampler.passes(("app", "step"))


def test_names_made_up_at_run_time_do_not_grow_memory() -> None:
    sampler = Sampler(ALL.set("app", 0.5))
    for number in range(10_000):
        sampler.rate(("app", str(number)), {})
    assert len(sampler._rates) == len(sampler._owed) == 4096


@pytest.mark.parametrize(
    ("prefix", "rate", "error"),
    [
        ("app..step", 1, ValueError),
        (None, 1, TypeError),
        (["app"], 1, TypeError),
        ("app", -0.1, ValueError),
        ("app", 1.1, ValueError),
        ("app", float("nan"), ValueError),
        ("app", "half", TypeError),
        ("app", True, TypeError),
    ],
)
def test_what_is_no_rule_is_refused(prefix: object, rate: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        ALL.set(prefix, rate)


@pytest.mark.parametrize("data", [b"", b"7", b"{}x", b'[["a"]]', b'[["a", 2]]', b"\xff", b'[["a..b", 1]]'])
def test_bytes_that_are_no_rules_break_the_protocol(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Rules.unpack(data)
