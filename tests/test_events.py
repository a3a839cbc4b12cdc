"""The catalogue says what the contract says, and `check` finds every way to be wrong."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb import events, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

GENERATOR = Path(__file__).parents[1] / "docs" / "generate_events.py"

# The reference's own events, keys and types: what this product promised to emit under these names.
SEED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "snakepit.worker.recycled": (
        {},
        {
            "worker_id": "str",
            "pool": "str",
            "reason": "str",
            "uptime_seconds": "float",
            "request_count": "int",
        },
    ),
    "snakepit.worker.health_check_failed": ({}, {"worker_id": "str", "pool": "str", "reason": "str"}),
    "snakepit.worker.started": (
        {"startup_time_ms": "int"},
        {"worker_id": "str", "pool": "str", "profile": "str", "capacity": "int"},
    ),
    "snakepit.worker.crash": (
        {},
        {"worker_id": "str", "pool": "str", "reason": "str", "exit_code": "int", "device": "str"},
    ),
    "snakepit.worker.tainted": (
        {"duration_ms": "int"},
        {"worker_id": "str", "pool": "str", "reason": "str", "exit_code": "int", "device": "str"},
    ),
    "snakepit.worker.restarted": (
        {},
        {"worker_id": "str", "pool": "str", "reason": "str", "exit_code": "int", "device": "str"},
    ),
    **{
        f"snakepit.zero_copy.{verb}": (
            {"duration_ms": "float", "bytes": "int"},
            {"kind": "str", "device": "str", "dtype": "str", "shape": "list"},
        )
        for verb in ("export", "import", "fallback")
    },
    **{
        f"snakepit.python.exception.{fate}": ({}, {"python_type": "str", "library": "str", "function": "str"})
        for fate in ("mapped", "unmapped")
    },
    "snakepit.pool.saturated": (
        {"queue_size": "int"},
        {"pool": "str", "available_workers": "int", "busy_workers": "int", "queue_size": "int"},
    ),
    "snakepit.request.executed": (
        {"duration_us": "int"},
        {"pool": "str", "worker_id": "str", "command": "str", "success": "bool"},
    ),
}

VALUES: dict[str, object] = {"int": 3, "float": 1.5, "str": "x", "bool": True, "list": [2, 3]}


def example(event: events.Event) -> tuple[dict[str, object], dict[str, object]]:
    """Measurements and metadata that the catalogue asks of an event, and nothing else."""

    def value(key: events.Key) -> object:
        return key.values[0] if key.values else VALUES[key.type]

    measurements = {key.name: value(key) for key in event.measurements if not key.optional}
    metadata = {key.name: value(key) for key in event.metadata if not key.optional and key.when is None}
    return measurements, metadata


everything = pytest.mark.parametrize(
    "event", events.CATALOGUE.values(), ids=lambda e: telemetry.dotted(e.name)
)


def test_the_seeds_thirteen_are_there_with_its_keys_and_types() -> None:
    assert {telemetry.dotted(e.name) for e in events.CATALOGUE.values() if e.source == "seed"} == set(SEED)
    for name, (measurements, metadata) in SEED.items():
        entry = events.spec(name)
        ours = {key.name: key for key in entry.measurements}, {key.name: key for key in entry.metadata}
        for theirs, mine in zip((measurements, metadata), ours, strict=True):
            assert {key: mine[key].type for key in theirs} == theirs
            assert not any(mine[key].optional or mine[key].when for key in theirs)


def test_every_name_has_a_constant_spelled_like_it() -> None:
    constants = {
        value: name for name, value in vars(events).items() if isinstance(value, tuple) and name.isupper()
    }
    for event in events.CATALOGUE:
        parts = event[1:] if event[0] == "snakepit" else event
        assert constants[event] == "_".join(parts).upper()


@everything
def test_every_entry_is_whole(event: events.Event) -> None:
    assert event.moment.endswith(".")
    assert all(key.type in {"int", "float"} for key in event.measurements)
    for keys in (event.measurements, event.metadata):
        assert len({key.name for key in keys}) == len(keys)
    for key in (*event.measurements, *event.metadata):
        assert all(key.accepts(value) for value in key.values)
        assert all(
            unit not in key.name.split("_") or key.unit == unit for unit in ("ms", "us", "bytes", "seconds")
        )


@everything
def test_what_the_catalogue_asks_for_is_accepted(event: events.Event) -> None:
    assert events.check(event.name, *example(event)) == []


@everything
def test_what_the_bus_delivers_of_it_is_accepted_and_safe_as_json(event: events.Event) -> None:
    faults: list[list[str]] = []
    telemetry.attach("h", event.name, lambda *delivered: faults.append(events.check(*delivered[:3])))
    try:
        measurements, metadata = example(event)
        telemetry.execute(
            event.name, {k: v for k, v in measurements.items() if isinstance(v, int | float)}, metadata
        )
    finally:
        telemetry.detach("h")
    assert faults == [[]]


@everything
def test_a_key_that_is_missing_is_found(event: events.Event) -> None:
    measurements, metadata = example(event)
    for given_keys in (measurements, metadata):
        for key in list(given_keys):
            kept = given_keys.pop(key)
            complaints = events.check(event.name, measurements, metadata)
            assert len(complaints) == 1
            assert f"{key!r} of {telemetry.dotted(event.name)}: missing" in complaints[0]
            given_keys[key] = kept


@everything
def test_a_value_of_a_wrong_type_or_outside_its_set_is_found(event: events.Event) -> None:
    measurements, metadata = example(event)
    for given_keys in (measurements, metadata):
        for key in list(given_keys):
            kept = given_keys[key]
            given_keys[key] = object()
            complaints = events.check(event.name, measurements, metadata)
            assert len(complaints) == 1
            assert f"{key!r} of {telemetry.dotted(event.name)}: expected" in complaints[0]
            given_keys[key] = kept


def change(changes: dict[str, object]) -> Callable[[str], list[str]]:
    def of(name: str) -> list[str]:
        measurements, metadata = example(events.spec(name))
        return events.check(name, measurements, {**metadata, **changes})

    return of


@pytest.mark.parametrize(
    ("name", "changes", "complaint"),
    [
        (
            "snakepit.worker.started",
            {"secret": 1},
            "metadata 'secret' of snakepit.worker.started: no such key",
        ),
        (
            "snakepit.worker.started",
            {"capacity": True},
            "metadata 'capacity' of snakepit.worker.started: expected int",
        ),
        ("snakepit.worker.started", {"pid": "7"}, "metadata 'pid' of snakepit.worker.started: expected int"),
        (
            "snakepit.worker.started",
            {"pool": None},
            "metadata 'pool' of snakepit.worker.started: expected str, got None",
        ),
        ("snakepit.worker.recycled", {"reason": "bored"}, "'ttl_expired' or 'max_requests' or"),
        ("snakepit.worker.recycled", {"memory_mb": 3.0}, "only expected where reason is 'memory_threshold'"),
        ("snakepit.zero_copy.export", {"copied": True}, "expected False, got True"),
        ("snakepit.zero_copy.export", {"copied": 0}, "expected False, got 0"),
        ("snakepit.zero_copy.export", {"shape": (2, 3)}, "expected list, got (2, 3)"),
        ("snakepit.worker.started", {"synthetic": False}, "expected True, got False"),
    ],
)
def test_each_way_to_be_wrong_is_told(name: str, changes: dict[str, object], complaint: str) -> None:
    (only,) = change(changes)(name)
    assert complaint in only


def test_a_recycle_for_memory_must_tell_the_memory() -> None:
    complaints = change({"reason": "memory_threshold"})("snakepit.worker.recycled")
    assert [c.split(",")[0] for c in complaints] == [
        "metadata 'memory_mb' of snakepit.worker.recycled: missing",
        "metadata 'memory_threshold_mb' of snakepit.worker.recycled: missing",
    ]
    complete = {"reason": "memory_threshold", "memory_mb": 900.5, "memory_threshold_mb": 800}
    assert change(complete)("snakepit.worker.recycled") == []


def test_none_is_accepted_where_the_catalogue_says_so() -> None:
    assert change({"exit_code": None, "device": None})("snakepit.worker.crash") == []
    assert change({"cell": None, "name": None})("snakepit.cell.start") == []


def test_what_a_worker_emits_may_say_where_it_comes_from() -> None:
    origin: dict[str, object] = {"pool": "default", "worker_id": "w1", "request_id": 4, "synthetic": True}
    assert change(origin)("snakepit.zero_copy.import") == []


def test_an_unknown_name_is_told_with_similar_ones() -> None:
    with pytest.raises(events.UnknownEvent, match=r"did you mean snakepit\.worker\.started"):
        events.spec("snakepit.worker.startd")
    with pytest.raises(events.UnknownEvent, match="CATALOGUE lists them all"):
        events.spec("qqq.zzz")
    assert events.check("snakepit.worker.startd", {}, {}) != []


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        events.CATALOGUE[("x",)] = events.spec("snakepit.pool.started")  # type: ignore[index]


@given(
    name=st.sampled_from(list(events.CATALOGUE)),
    measurements=st.dictionaries(st.text(max_size=5), st.integers() | st.none() | st.text(), max_size=3),
    metadata=st.dictionaries(
        st.text(max_size=5), st.integers() | st.none() | st.lists(st.text()), max_size=3
    ),
)
def test_check_never_raises_and_finds_every_foreign_key(
    name: telemetry.EventName, measurements: dict[str, object], metadata: dict[str, object]
) -> None:
    complaints = "\n".join(events.check(name, measurements, metadata))
    entry = events.spec(name)
    known = {key.name for key in (*events.ENVELOPE_METADATA, *entry.metadata)}
    for key in metadata.keys() - known:
        assert f"metadata {key!r} of" in complaints


def test_the_reference_page_is_the_one_that_the_catalogue_gives() -> None:
    generator = runpy.run_path(str(GENERATOR))
    page = GENERATOR.with_name("events.md").read_text(encoding="utf-8")
    assert page == generator["render"](), "run `python docs/generate_events.py`"
    for event in events.CATALOGUE:
        assert f"### `{telemetry.dotted(event)}`" in page


def test_the_generator_writes_the_page_and_tells_a_stale_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / GENERATOR.name
    copy.write_text(GENERATOR.read_text(encoding="utf-8"), encoding="utf-8")
    main = runpy.run_path(str(copy))["main"]
    assert main(["--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0
    page = tmp_path / "events.md"
    page.write_text(page.read_text(encoding="utf-8") + "edited by hand", encoding="utf-8")
    assert main(["--check"]) == 1
