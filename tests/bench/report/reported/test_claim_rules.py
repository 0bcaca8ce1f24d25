"""Rules of claims: planted runs hold or break each, and what cannot be compared says why."""

from __future__ import annotations

import pytest

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.reported.claims import PARTS, RULES, read_claims
from cloakbench.bench.report.reported.judgement import CLEAR, HELD, NOT_COMPARABLE, NOT_HELD, UNCLEAR, judge

from .planted import SURROGATE, TERM, cell, claim_of, identification, planted, run_of

RULE_CASES = [
    ({"greater": {"left": "a", "right": "b"}}, {"a": 0.6, "b": 0.4}, {"a": 0.4, "b": 0.6}),
    ({"highest": {"of": "a", "among": ["b", "c"]}}, {"a": 0.6, "b": 0.4, "c": 0.5}, {"a": 0.6, "b": 0.4, "c": 0.7}),
    ({"lowest": {"of": "a", "among": ["b", "c"]}}, {"a": 0.3, "b": 0.4, "c": 0.5}, {"a": 0.3, "b": 0.2, "c": 0.5}),
    ({"between": {"of": "a", "low": "b", "high": "c"}}, {"a": 0.5, "b": 0.4, "c": 0.6}, {"a": 0.7, "b": 0.4, "c": 0.6}),
    ({"order": ["a", "b", "c"]}, {"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.1, "b": 0.3, "c": 0.2}),
    ({"order_or_tie": ["a", "b", "c"]}, {"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.1, "b": 0.3, "c": 0.2}),
    ({"at_least": {"of": "a", "level": 0.5}}, {"a": 0.6}, {"a": 0.4}),
    ({"at_most": {"of": "a", "level": 0.5}}, {"a": 0.4}, {"a": 0.6}),
    ({"drops_at_most": {"before": "a", "after": "b", "level": 0.5}}, {"a": 0.8, "b": 0.6}, {"a": 0.8, "b": 0.2}),
    ({"drops_at_least": {"before": "a", "after": "b", "level": 0.5}}, {"a": 0.8, "b": 0.2}, {"a": 0.8, "b": 0.6}),
    ({"close": {"left": "a", "right": "b", "within": 0.1}}, {"a": 0.5, "b": 0.45}, {"a": 0.5, "b": 0.7}),
    (
        {"undominated": {"of": ["a", "b"], "among": [["c", "d"]]}},
        {"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.5},
        {"a": 0.2, "b": 0.3, "c": 0.5, "d": 0.5},
    ),
    (
        {"all": [{"greater": {"left": "a", "right": "b"}}, {"greater": {"left": "b", "right": "c"}}]},
        {"a": 0.6, "b": 0.5, "c": 0.4},
        {"a": 0.6, "b": 0.3, "c": 0.4},
    ),
]


@pytest.mark.parametrize(("rule", "holds", "breaks"), RULE_CASES, ids=[next(iter(case[0])) for case in RULE_CASES])
def test_a_rule_holds_and_breaks_on_planted_numbers(rule, holds, breaks):
    claim = claim_of(rule, *holds)
    for values, verdict in ((holds, HELD), (breaks, NOT_HELD)):
        found = judge(run_of(values), claim)
        assert (found.verdict, found.because) == (verdict, CLEAR)
        wide = judge(run_of(values, half=0.3), claim)
        assert (wide.verdict, wide.because) == (verdict, UNCLEAR)


def test_every_rule_of_the_vocabulary_is_tested_here():
    tested = {next(iter(case[0])) for case in RULE_CASES}
    below = {"rises_with", "settles", "keeps", "about", "weakest_on"}
    assert set(RULES) - tested == below, "these have tests of their own below"
    assert set(PARTS) < set(RULES)


def test_a_failing_part_decides_a_claim_although_others_are_unclear():
    claim = claim_of({"highest": {"of": "a", "among": ["b", "c"]}}, "a", "b", "c")
    assert judge(run_of({"a": 0.5, "b": 0.495, "c": 0.8}), claim).because == CLEAR
    assert judge(run_of({"a": 0.5, "b": 0.495, "c": 0.4}), claim).because == UNCLEAR


def test_numbers_and_intervals_are_printed_with_the_verdict():
    found = judge(run_of({"a": 0.6, "b": 0.4}), claim_of({"greater": {"left": "a", "right": "b"}}, "a", "b"))
    assert found.measured == (
        "a 8/255 on source, psr_p1_top1 60.0 % [59.0, 61.0]; b 8/255 on source, psr_p1_top1 40.0 % [39.0, 41.0]"
    )


def test_a_rise_with_the_budget_is_followed_from_step_to_step():
    claim = claim_of({"rises_with": {"of": "a", "axis": "budget"}}, "a")
    rising = [row for e in (2, 4, 16) for row in identification("a", {"mobile": e / 20}, epsilon_255=float(e))]
    assert judge(planted(rising), claim).verdict == HELD
    dip = rising + identification("a", {"mobile": 0.05}, epsilon_255=8.0)
    assert judge(planted(dip), claim).verdict == NOT_HELD
    until = claim_of({"rises_with": {"of": "a", "axis": "budget", "up_to": 4}}, "a")
    assert judge(planted(dip), until).verdict == HELD
    assert judge(planted(rising[:1]), claim).because == "a is not measured at two values of budget"


def test_a_rise_with_a_setting_reads_the_variants_at_one_budget():
    claim = claim_of({"rises_with": {"of": "pgd", "axis": "steps"}}, "pgd")
    rows = [row for n in (2, 4, 10) for row in identification("pgd", {"mobile": n / 20}, variant=f"steps={n}")]
    other = identification("pgd", {"mobile": 0.01}, epsilon_255=16.0, variant="steps=20")
    found = judge(planted(rows + other), claim)
    assert found.verdict == HELD
    assert found.measured.startswith("pgd (steps=2) 8/255")


def test_neighbours_of_an_order_may_tie_where_the_rule_says_so():
    tie = {"a": 0.1, "b": 0.1}
    assert judge(run_of(tie), claim_of({"order": ["a", "b"]}, "a", "b")).verdict == NOT_HELD
    assert judge(run_of(tie), claim_of({"order_or_tie": ["a", "b"]}, "a", "b")).verdict == HELD


def test_a_number_settles_from_a_value_of_a_setting_on_or_does_not():
    claim = claim_of({"settles": {"of": "pgd", "axis": "steps", "from": 8, "within": 0.02}}, "pgd")

    def verdict(*rates: float) -> str:
        rows = [
            row
            for steps, rate in zip((2, 8, 16, 32), rates, strict=True)
            for row in identification("pgd", {"mobile": rate}, variant=f"steps={steps}")
        ]
        return judge(planted(rows), claim).verdict

    assert verdict(0.2, 0.6, 0.61, 0.59) == HELD
    assert verdict(0.2, 0.6, 0.61, 0.7) == NOT_HELD


def test_a_rise_with_the_budget_is_that_of_one_variant():
    claim = claim_of({"rises_with": {"of": "a", "axis": "budget"}}, "a")
    rising = [row for e in (2, 4, 16) for row in identification("a", {"mobile": e / 20}, epsilon_255=float(e))]
    other = identification("a", {"mobile": 0.01}, epsilon_255=8.0, variant="steps=2")
    assert judge(planted(rising + other), claim).verdict == HELD


def test_a_rate_on_the_surrogate_itself_is_read_where_it_is_asked_for():
    claim = claim_of({"greater": {"left": "a", "right": "b"}}, "a", "b", white_box=True)
    rows = [*identification("a", {"mobile": 0.1, "source": 0.9}), *identification("b", {"mobile": 0.8, "source": 0.7})]
    found = judge(planted(rows), claim)
    assert found.verdict == HELD
    assert found.measured.startswith("a 8/255 on source, white-box, psr_p1_top1 90.0 %")


def test_of_several_ensembles_the_one_that_leaves_the_judge_out_is_read():
    rows = [
        cell("verification", "impersonation_far_1e-2", method, value, judge="mobile", epsilon_255=16.0, **where)
        for method, value in (("a", 0.6), ("b", 0.4))
        for where in ({"surrogate": "without_mobile"}, {"surrogate": "with_mobile", "white_box": True})
    ]
    fields = {"protocol": "verification", "metric": "impersonation_far_1e-2", "epsilon_255": 16}
    claim = claim_of({"greater": {"left": "a", "right": "b"}}, "a", "b", **fields, judge={"family": "mobilenet"})
    found = judge(planted(rows), claim)
    assert found.verdict == HELD
    assert found.measured.startswith("a 16/255")


def test_a_rate_keeps_under_conditions_or_does_not():
    claim = claim_of({"keeps": {"of": "a", "within": 0.1}}, "a")
    base = identification("a", {"mobile": 0.7})
    mild = identification("a", {"mobile": 0.65}, condition="jpeg_90")
    harsh = identification("a", {"mobile": 0.3}, condition="blur_3")
    assert judge(planted(base + mild), claim).verdict == HELD
    assert judge(planted(base + mild + harsh), claim).verdict == NOT_HELD
    assert judge(planted(base), claim).because == "no other condition in this run"


def test_a_printed_number_is_judged_only_on_its_own_data():
    claim = claim_of({"about": {"of": "a", "dataset": "privacy_commons"}}, "a", printed="60.5", unit="%")
    elsewhere = judge(run_of({"a": 0.6}), claim)
    assert elsewhere.verdict == NOT_COMPARABLE
    assert elsewhere.because.startswith("other faces")
    assert judge(run_of({"a": 0.6}, dataset="Privacy-Commons v1"), claim).verdict == HELD
    assert judge(run_of({"a": 0.7}, dataset="Privacy-Commons v1"), claim).verdict == NOT_HELD


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"protocol": "attributes"}, "no attributes in this run"),
        ({"method": "nobody"}, "nobody is not in this run"),
        ({"epsilon_255": 16}, "a is measured at 8/255, not at 16/255"),
        ({"metric": "psr_p2_top1"}, "psr_p2_top1 of a has no value: not measured"),
        ({"judge": {"head": "SFace"}}, "no such judge in this run"),
        ({"judge": {"family": "ir"}}, "the only such judge is the surrogate"),
        ({"surrogate": {"head": "Softmax"}}, "a is not measured on such a surrogate"),
        ({"targeted": True}, "a is not aimed at another person in this run"),
    ],
)
def test_what_cannot_be_compared_says_why(fields, because):
    claim = claim_of({"greater": {"left": "a", "right": "b"}}, "a", "b")
    changed = {"a": TERM | {"method": "a"} | fields, "b": TERM | {"method": "b"}}
    content = {"reasons": {}, "counted": [], "terms": changed, "claims": [], "orderings": [], "unchecked": []}
    content["claims"] = [{"line": 1, "claim": "said", "rule": {"greater": {"left": "a", "right": "b"}}}]
    prose = [{"seed": "002", "section": "I", "claim": claim.text, "value": "", "unit": "qualitative"}]
    found = judge(run_of({"a": 0.6, "b": 0.4}), read_claims(content, prose).checked[0])
    assert (found.verdict, found.because, found.measured) == (NOT_COMPARABLE, because, "")


def test_methods_are_compared_on_the_surrogates_that_they_share():
    second = ("other", "surrogate, target", "mobilefacenet", "MobileFaceNet", "CosFace", "", False)
    cards = (SURROGATE, second, ("mobile", "target", "mobilenet", "MobileNet", "CosFace", "", False))
    rows = identification("a", {"mobile": 0.5}) + identification("a", {"mobile": 0.1}, surrogate="other")
    rows += identification("b", {"mobile": 0.4})
    claim = claim_of({"greater": {"left": "a", "right": "b"}}, "a", "b")
    assert judge(planted(rows, cards), claim).verdict == HELD, "0.5 against 0.4, not 0.3 against 0.4"


def test_a_budget_that_is_not_asked_for_is_the_usual_or_the_only_one():

    def found(rows: list[dict]) -> BudgetSize:
        return planted(rows).find("identification", "a", None, targeted=False).run.budget

    both = identification("a", {"mobile": 0.5}) + identification("a", {"mobile": 0.5}, epsilon_255=4.0)
    assert found(both) == BudgetSize(8.0)
    assert found(both[1:]) == BudgetSize(4.0)
    none = identification("a", {"mobile": 0.5}, epsilon_255=float("nan"))
    assert found(none) == NO_BUDGET


def test_a_drop_is_a_share_of_what_there_was_and_its_interval_of_the_farthest_ends():
    claim = claim_of({"drops_at_most": {"before": "a", "after": "b", "level": 0.25}}, "a", "b")
    assert judge(run_of({"a": 0.8, "b": 0.61}), claim).because == UNCLEAR
    assert judge(run_of({"a": 0.8, "b": 0.65}), claim).because == CLEAR
    nothing = judge(run_of({"a": 0.0, "b": 0.1}), claim)
    assert (nothing.verdict, nothing.because) == (NOT_COMPARABLE, "nothing to lose: the number before is 0")


def test_a_number_is_weakest_on_a_surrogate_or_is_not():
    rule = {"weakest_on": {"of": "pgd", "surrogate": {"stands_for": "SE-ResNet"}}}
    claim = claim_of(rule, "pgd", white_box=True)

    def found(**rates: float):
        return judge(
            planted(
                [
                    row
                    for name, rate in rates.items()
                    for row in identification("pgd", {name: rate}, surrogate=name, white_box=True)
                ]
            ),
            claim,
        )

    held = found(squeeze=0.3, arc=0.6, mobile=0.5)
    assert (held.verdict, held.because) == (HELD, CLEAR)
    assert held.measured.startswith("pgd 8/255 on squeeze, white-box, psr_p1_top1 30.0 %")
    assert found(squeeze=0.55, arc=0.6, mobile=0.5).verdict == NOT_HELD
    assert found(squeeze=0.3).because == "measured on one surrogate only"
    assert found(arc=0.3, mobile=0.2).because == "pgd is not measured on such a surrogate"
