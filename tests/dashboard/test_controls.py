"""What a front end may ask: what is on the lists is taken, all else is refused with a sentence."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_nb.dashboard import controls
from snakepit_nb.dashboard.controls import Asked, Refused
from snakepit_nb.dashboard.protocol import ACTIONS, FORMATS, VERBS

GOOD: list[dict[str, Any]] = [
    {"verb": "hello", "view": "a1"},
    {"verb": "resync"},
    {"verb": "visible", "view": "a1", "on": False},
    {"verb": "ping", "view": "a1"},
    {"verb": "details", "ask": 1, "id": 2**32 - 1},
    {"verb": "do", "ask": 1, "action": "scale", "workers": 1},
    {"verb": "do", "ask": 1, "action": "scale", "workers": controls.MOST_WORKERS},
    {"verb": "do", "ask": 1, "action": "recycle", "worker": None},
    {"verb": "do", "ask": 1, "action": "recycle", "worker": "default-1"},
    {"verb": "do", "ask": 1, "action": "cancel", "request": 7},
    {"verb": "do", "ask": 1, "action": "stop"},
    *({"verb": "export", "ask": 1, "format": name} for name in FORMATS),
]


@pytest.mark.parametrize("message", GOOD, ids=str)
def test_what_is_on_the_lists_is_taken_as_it_is(message: dict[str, Any]) -> None:
    asked = controls.read(message)
    assert {name: getattr(asked, name) for name in message} == message


def test_every_verb_and_every_action_is_among_these() -> None:
    assert {message["verb"] for message in GOOD} == set(VERBS)
    assert {message["action"] for message in GOOD if "action" in message} == set(ACTIONS)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (None, "a message is an object with a verb, got None"),
        ([], "a message is an object with a verb, got a list"),
        ({}, "there is no verb None; there are hello"),
        ({"verb": "eval", "code": "1"}, "there is no verb 'eval'"),
        ({"verb": ["hello"]}, "there is no verb a list"),
        ({"verb": "__class__"}, "there is no verb '__class__'"),
        ({"verb": "hello"}, "hello: view is missing"),
        ({"verb": "hello", "view": 3}, "hello: view is a text, got 3"),
        ({"verb": "hello", "view": "x" * 65}, "hello: view has at most 64 characters, got 65"),
        ({"verb": "hello", "view": "a", "more": 1}, "hello takes no 'more'"),
        ({"verb": "visible", "view": "a", "on": 1}, "visible: on is true or false, got 1"),
        ({"verb": "details", "ask": 1, "id": True}, "details: id is a number from 0 to 4294967295, got True"),
        ({"verb": "details", "ask": 1, "id": 1.0}, "got 1.0"),
        ({"verb": "details", "ask": -1, "id": 1}, "details: ask is a number from 0"),
        ({"verb": "details", "ask": 1, "id": 2**32}, "got 4294967296"),
        ({"verb": "details", "ask": 1, "id": 10**5000}, "got a number"),
        ({"verb": "do", "ask": 1}, "do: there is no action None; there are scale"),
        ({"verb": "do", "ask": 1, "action": "_act"}, "do: there is no action '_act'"),
        ({"verb": "do", "ask": 1, "action": {}}, "do: there is no action a dict"),
        ({"verb": "do", "ask": 1, "action": "scale", "workers": True}, "workers is a number from 1 to 256"),
        ({"verb": "do", "ask": 1, "action": "scale", "workers": 0}, "got 0"),
        ({"verb": "do", "ask": 1, "action": "scale", "workers": 257}, "got 257"),
        ({"verb": "do", "ask": 1, "action": "scale", "workers": "3"}, "got '3'"),
        ({"verb": "do", "ask": 1, "action": "stop", "worker": "a"}, "stop takes no 'worker'"),
        ({"verb": "do", "ask": 1, "action": "recycle", "worker": "w" * 201}, "at most 200 characters"),
        ({"verb": "do", "ask": 1, "action": "recycle", "worker": 1}, "worker is a text or null, got 1"),
        ({"verb": "export", "ask": 1, "format": "exe"}, "there is no format 'exe'; there are trace"),
        ({"verb": "export", "ask": 1, "format": "../../x"}, "there is no format"),
    ],
    ids=lambda value: (
        repr(value)[:60] if not isinstance(value, dict) or value.get("id") != 10**5000 else "vast"
    ),
)
def test_what_is_on_no_list_is_refused_with_a_sentence(message: object, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        controls.read(message)
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["view", "on", "ask", "id", "action", "format", "worker", "workers", "request"])
NEARLY = st.fixed_dictionaries(
    {"verb": st.sampled_from([*VERBS, "eval", ""])},
    optional={
        "view": JSON,
        "on": JSON,
        "ask": JSON,
        "id": JSON,
        "action": st.sampled_from([*ACTIONS, "x"]) | JSON,
        "format": JSON,
        "worker": JSON,
        "workers": JSON,
        "request": JSON,
    },
)


@given(JSON | NEARLY)
def test_anything_is_either_refused_or_within_its_bounds(message: object) -> None:
    try:
        asked = controls.read(message)
    except Refused:
        return
    assert isinstance(asked, Asked)
    assert asked.verb in VERBS
    assert len(asked.view) <= controls.LONGEST_VIEW
    assert type(asked.ask) is int
    assert type(asked.workers) is int
    assert 0 <= asked.workers <= controls.MOST_WORKERS
    assert asked.action in {"", *ACTIONS}
    assert asked.format in {"", *FORMATS}


def test_a_number_to_answer_to_is_found_in_refused_messages_too() -> None:
    assert controls.number_of({"verb": "nonsense", "ask": 4}) == 4
    nameless: list[object] = [{"ask": True}, {"ask": -1}, {"ask": "4"}, {}, [], None, "ask", {"ask": 2**60}]
    for message in nameless:
        assert controls.number_of(message) is None


def garbled(seed: int) -> object:
    """A message of a front end with one thing about it changed, for tests of what takes messages."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    message = json.loads(json.dumps(chance.choice(GOOD)))
    strange = [None, True, -1, 2**70, 1.5, "", "x" * 10_000, "\u202e<b>", [], {}, [message], {"verb": "do"}]
    how = chance.randrange(4)
    if how == 0:
        return chance.choice(strange)
    name = chance.choice([*message])
    if how == 1:
        del message[name]
    elif how == 2:
        message[name] = chance.choice(strange)
    else:
        message[str(chance.choice(strange))] = chance.choice(strange)
    return message


def test_a_thousand_garbled_messages_are_all_refused_or_harmless() -> None:
    refused = []
    for seed in range(1_000):
        try:
            asked = controls.read(garbled(seed))
        except Refused as why:
            refused.append(str(why))
        else:
            assert asked.verb in VERBS
    assert len(refused) > 500
    assert all(refused)
