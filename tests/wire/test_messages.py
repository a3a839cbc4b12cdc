"""Who may say what when: the table as a machine that Hypothesis drives, and the sentences it stands for."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from snakepit_nb.wire import messages
from snakepit_nb.wire.messages import WHAT_MAY_FOLLOW, Phase, Side, follow
from tests.wire import says

WORKER_ONLY = {
    messages.Hello,
    messages.Broken,
    messages.Value,
    messages.Error,
    messages.Output,
    messages.Display,
    messages.Events,
}
KERNEL_ONLY = {messages.Define, messages.Call, messages.Stop, messages.Forward}
ON_THE_LANE = {messages.Introduce, messages.Dismiss}


class Conversation(RuleBasedStateMachine):
    """Both sides say anything; what `follow` refuses has no effect."""

    def __init__(self) -> None:
        super().__init__()
        self.phases = {Side.WORKER: Phase.GREETING, Side.KERNEL: Phase.SERVING}
        self.said: dict[Side, list[type]] = {Side.WORKER: [], Side.KERNEL: []}

    @rule(side=st.sampled_from(Side), message=says.every)
    def say(self, side: Side, message: messages.Message) -> None:
        phase = follow(side, self.phases[side], message)
        if phase is not None:
            self.phases[side] = phase
            self.said[side].append(type(message))

    @rule()
    def greet(self) -> None:
        self.say(Side.WORKER, messages.Hello(1, 0, "default-0", ""))

    @rule()
    def stop(self) -> None:
        self.say(Side.KERNEL, messages.Stop())

    @invariant()
    def nobody_says_the_other_side_s_words_or_the_lane_s(self) -> None:
        assert not WORKER_ONLY & set(self.said[Side.KERNEL])
        assert not KERNEL_ONLY & set(self.said[Side.WORKER])
        assert not ON_THE_LANE & {*self.said[Side.KERNEL], *self.said[Side.WORKER]}

    @invariant()
    def a_worker_says_hello_once_and_before_any_answer(self) -> None:
        words = [each for each in self.said[Side.WORKER] if each is not messages.Nudge]
        assert words[:1] in ([], [messages.Hello], [messages.Broken])
        assert words.count(messages.Hello) + words.count(messages.Broken) <= 1
        if messages.Broken in words:
            assert words == [messages.Broken]

    @invariant()
    def after_stop_the_kernel_only_gives_back(self) -> None:
        words = self.said[Side.KERNEL]
        if messages.Stop in words:
            assert set(words[words.index(messages.Stop) + 1 :]) <= {messages.Release}


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("kind", says.KINDS)
def test_every_message_but_the_lane_s_may_be_said_by_somebody_at_some_time(kind: type) -> None:
    speakers = {side for (side, _), allowed in WHAT_MAY_FOLLOW.items() if kind in allowed}
    assert bool(speakers) == (kind not in ON_THE_LANE)


def test_every_phase_of_a_side_can_be_reached_and_leads_on_or_is_the_end() -> None:
    reached = {Phase.GREETING} | {
        phase
        for (side, _), allowed in WHAT_MAY_FOLLOW.items()
        if side is Side.WORKER
        for phase in allowed.values()
    }
    assert reached == {Phase.GREETING, Phase.SERVING, Phase.OVER}
    assert (Side.WORKER, Phase.OVER) not in WHAT_MAY_FOLLOW
    assert WHAT_MAY_FOLLOW[Side.KERNEL, Phase.STOPPING] == {messages.Release: Phase.STOPPING}


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        messages.Stop().anything = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        messages.Call(1, b"", b"", b"").request_id = 2  # type: ignore[misc]
