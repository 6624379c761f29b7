from __future__ import annotations

from torchkiln.checks.diagnose.failure import Failure, Frame
from torchkiln.checks.diagnose.rule import Context, Rule, Seen, at_hand, rules

FAILURE = Failure(
    "a.ValueError", "size 3 is\n wrong", [Frame("t.py", 1, "f", "net(x)"), Frame("/v/torch/nn/modules/l.py", 2, "g")]
)


def test_all_that_is_given_must_hold() -> None:
    assert Seen(r"size (?P<n>\d) is wrong").match(FAILURE, Context()) == {"n": "3"}
    assert Seen("size", kind="ValueError$", frame="torch/nn/modules/l").match(FAILURE, Context()) == {}
    assert Seen("size", kind="TypeError").match(FAILURE, Context()) is None
    assert Seen("size", frame="numpy").match(FAILURE, Context()) is None
    assert Seen("size", no_frame="torch/").match(FAILURE, Context()) is None
    assert Seen("size", when=lambda f, c: False).match(FAILURE, Context()) is None


def test_a_log_without_a_class_is_spared_it_but_not_everything() -> None:
    bare = Failure("", "size")
    assert Seen("size", kind="ValueError").match(bare, Context()) == {}
    assert Seen(kind="ValueError").match(bare, Context()) is None


def test_a_mend_in_the_persons_names() -> None:
    rule = Rule(fix="`{layer}` gets {n}")
    assert rule.mend({"n": "3"}, FAILURE.place) == "`net` gets 3"
    assert rule.mend({}, FAILURE.place) is None and Rule().mend({}, None) is None


def test_every_page_has_its_rule() -> None:
    assert len(rules()) >= 60 and all(rule.seen or rule.lines for rule in rules().values())


def test_what_was_at_hand() -> None:
    assert at_hand(FAILURE.place) == ""
