"""Claims of the papers' text: every line has a rule or a reason, and planted runs hold or break each rule."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import pytest

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reported.claims import PARTS, RULES, Claim, load_claims, read_claims, terms_of
from cloakbench.bench.report.reported.claims_table import claims_table
from cloakbench.bench.report.reported.judgement import CLEAR, HELD, NOT_COMPARABLE, NOT_HELD, UNCLEAR, judge
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.reported.printed import ReportedSchemaError, load_lines, load_prose, load_yaml
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown

from .planted import SURROGATE, VEIL_SURROGATES, cell, identification, planted, veil_rows

ROOT = Path(__file__).parents[4]
PROSE = load_prose()
CLAIMS = load_claims()
TERM = {"protocol": "identification", "metric": "psr_p1_top1", "epsilon_255": 8}


WHITE = {"surrogate": "softmax", "judge": "softmax", "white_box": True, "epsilon_255": float("nan")}


@pytest.fixture
def content() -> dict:
    return copy.deepcopy(load_yaml("claims.yaml"))


def claim_of(rule: dict, *methods: str, printed: str = "", unit: str = "qualitative", **fields) -> Claim:
    """A claim with one rule over terms called like their methods."""
    content = {
        "reasons": {},
        "counted": [],
        "terms": {method: TERM | {"method": method} | fields for method in methods},
        "claims": [{"line": 1, "claim": "said", "rule": rule}],
        "orderings": [],
        "unchecked": [],
    }
    prose = [{"seed": "002", "section": "I", "claim": "said so", "value": printed, "unit": unit}]
    return read_claims(content, prose).checked[0]


def run_of(values: dict[str, float], half: float = 0.01, dataset: str = "synthetic") -> Lookup:
    """Methods with one value each on a black-box judge; a white-box cell of 1 would show in any mean."""
    rows = []
    for method, value in values.items():
        rows += identification(method, {"mobile": value}, low=value - half, high=value + half)
        rows += identification(method, {"source": 1.0})
    return planted(rows, dataset=dataset)


def test_every_line_has_a_rule_or_a_reason():
    assert len(PROSE) == 182
    assert len(CLAIMS.checked) == 25
    assert len(CLAIMS.unchecked) == 157
    assert sorted([claim.line for claim in CLAIMS.checked] + list(CLAIMS.unchecked)) == list(range(1, 183))
    assert sum("no result" in reason for reason in CLAIMS.unchecked.values()) == 116


def test_claims_without_a_number_are_not_put_off_as_settings():
    qualitative = {line for line, row in enumerate(PROSE, 1) if row["unit"] == "qualitative"}
    settings = {line for line, reason in CLAIMS.unchecked.items() if "no result" in reason}
    assert not qualitative & settings
    assert {18, 19, 20, 21, 22, 23, 24} <= qualitative & {claim.line for claim in CLAIMS.checked}


def test_lines_lost_in_the_text_are_those_without_a_value():
    lost = {line for line, row in enumerate(PROSE, 1) if row["unit"] == "lost in extraction"}
    assert {line for line, reason in CLAIMS.unchecked.items() if "lost" in reason} == lost


def test_methods_of_claims_can_be_run_or_are_printed_in_a_table():
    runnable = {path.stem for path in (ROOT / "conf" / "method").glob("*.yaml")}
    printed = {line["method"] for lines in load_lines().values() for line in lines}
    assert {
        term.method for claim in (*CLAIMS.checked, *CLAIMS.orderings) if claim.rule for term in terms_of(claim.rule)
    } <= runnable | printed


RULE_CASES = [
    ({"greater": {"left": "a", "right": "b"}}, {"a": 0.6, "b": 0.4}, {"a": 0.4, "b": 0.6}),
    ({"highest": {"of": "a", "among": ["b", "c"]}}, {"a": 0.6, "b": 0.4, "c": 0.5}, {"a": 0.6, "b": 0.4, "c": 0.7}),
    ({"lowest": {"of": "a", "among": ["b", "c"]}}, {"a": 0.3, "b": 0.4, "c": 0.5}, {"a": 0.3, "b": 0.2, "c": 0.5}),
    ({"between": {"of": "a", "low": "b", "high": "c"}}, {"a": 0.5, "b": 0.4, "c": 0.6}, {"a": 0.7, "b": 0.4, "c": 0.6}),
    ({"order": ["a", "b", "c"]}, {"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.1, "b": 0.3, "c": 0.2}),
    ({"order_or_tie": ["a", "b", "c"]}, {"a": 0.1, "b": 0.2, "c": 0.3}, {"a": 0.1, "b": 0.3, "c": 0.2}),
    ({"at_least": {"of": "a", "level": 0.5}}, {"a": 0.6}, {"a": 0.4}),
    ({"at_most": {"of": "a", "level": 0.5}}, {"a": 0.4}, {"a": 0.6}),
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
    assert set(RULES) - tested == {"rises_with", "settles", "keeps", "about"}, "these have tests of their own below"
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


def test_the_survey_s_claims_are_judged_on_the_reference_run():
    lookup = Lookup(Measured(load_results(ROOT / "results" / "reference" / "bench")))
    verdicts = {claim.line: judge(lookup, claim).verdict for claim in CLAIMS.checked}
    survey = {line: verdict for line, verdict in verdicts.items() if line < 25}
    assert NOT_COMPARABLE not in survey.values()
    assert survey[20] == survey[21] == survey[22] == HELD
    assert survey[19] == NOT_HELD, "OPOM protects more than EM and REM here"
    assert Counter(verdicts.values())[NOT_COMPARABLE] == 18
    orderings = {claim.text: judge(lookup, claim).verdict for claim in CLAIMS.orderings}
    assert orderings["FaceCloak: baseline < +R < +R+A < +R+A+H"] == NOT_COMPARABLE
    assert orderings["OPOM: FI-UAP < AffineHull < ClassCenter < ConvexHull"] in (HELD, NOT_HELD)
    table = claims_table(lookup, CLAIMS)
    assert [len([row for row in table.rows if row.section.startswith(kind)]) for kind in ("Claims", "Orderings")] == [
        60,
        17,
    ]
    assert table.footnotes[0].startswith("122 other lines of the papers claim nothing")
    assert all(render(table) for render in (to_markdown, to_csv, to_latex))


OTHERS = ("gd_uap", "gap", "fi_uap", "opom_affine_hull", "opom_class_center", "opom_convex_hull")
OTHER_BALL = ("advfaces_plus", "advcloak", "advcloak_affine_hull", "advcloak_class_center", "advcloak_convex_hull")


def test_facecloak_s_gains_are_judged_against_all_eleven_methods_of_the_table():
    rows = [row for method in OTHERS for row in identification(method, {"mobile": 0.5})]
    rows += identification("facecloak", {"mobile": 0.8})
    rows += [row for method in OTHER_BALL for row in identification(method, {"mobile": 0.7}, epsilon_255=float("nan"))]
    verdicts = {claim.line: judge(planted(rows), claim).verdict for claim in CLAIMS.checked}
    assert verdicts[49] == verdicts[51] == HELD
    assert verdicts[56] == NOT_COMPARABLE, "no ArcFace surrogate in this run"
    assert verdicts[50] == NOT_COMPARABLE, "no Top-5 in this run"
    gain = next(claim for claim in CLAIMS.checked if claim.line == 49)
    found = judge(planted(rows[:-1]), gain)
    assert (found.verdict, found.because[:22]) == (NOT_COMPARABLE, "advcloak_convex_hull i")


def test_the_orderings_of_tables_i_and_ii_hold_in_the_numbers_that_they_print():
    """Printed rates as if they were measured: what the tables do not show is no ordering of theirs."""
    heads = {"arcface": "ArcFace", "cosface": "CosFace", "softmax": "Softmax"}
    families = {"mobilenet": "mobilenet", "senet": "se_resnet", "ir50": "inception_resnet"}
    cards = [(name, "surrogate", "ir", "IResNet", head, "IR-50", False) for name, head in heads.items()]
    cards += [(f"on_{name}", "target", "x", "X", heads.get(name, "SFace"), "", False) for name in (*heads, "sface")]
    cards += [(f"on_{name}", "target", family, "X", "", "", False) for name, family in families.items()]
    cards = [card for card in cards if card[0] != "on_softmax"]
    for number in (1, 2):
        rows = [
            cell(
                "identification",
                "psr_p1_top1",
                line["method"],
                line["value"] / 100,
                0.0,
                surrogate=line["surrogate"],
                judge=f"on_{line['target']}",
                epsilon_255=float("nan") if line["method"] in OTHER_BALL else 8.0,
            )
            for line in load_lines()[f"facecloak_{number}"]
            if line["metric"] == "psr_top1" and line["target"] != "average"
        ]
        run = planted(rows, tuple(cards))
        found = {claim.text: judge(run, claim) for claim in CLAIMS.orderings if "Tables I and II" in claim.section}
        assert [f"{text}: {one.measured}" for text, one in found.items() if one.verdict == NOT_HELD] == []
        assert len(found) == 6
        named = next(one for text, one in found.items() if text.startswith("a CosFace surrogate transfers less"))
        assert "on cosface against on_mobilenet" in named.measured, "whose rate it is"


def test_the_orderings_of_veils_hold_in_the_numbers_that_they_print():
    """Printed means as if they were measured, on the photos that veils were made from."""
    baseline = [row for row in veil_rows("veil_1") if row["method"] == "v_uap"]
    run = planted(baseline + veil_rows("veil_2") + veil_rows("veil_3"), VEIL_SURROGATES)
    found = {claim.text: judge(run, claim) for claim in CLAIMS.orderings if claim.section.startswith("Veils, Table")}
    assert len(found) == 5
    assert {one.verdict for one in found.values()} == {HELD}
    text = next(one for text, one in found.items() if text.startswith("veils hide more")).measured
    assert "veil, hidden_ssim_seen 0.011" in text, "the mean over surrogates"


def test_the_noise_that_veils_stand_is_judged_on_the_surrogate():
    """Flat to 120 and less at 160 holds; a rate that has fallen by 120, or has not by 160, does not."""
    claim = next(claim for claim in CLAIMS.checked if claim.line == 180)
    for at_120, at_160, verdict in ((0.98, 0.7, HELD), (0.8, 0.7, NOT_HELD), (0.98, 0.99, NOT_HELD)):
        rows = [
            cell("visual", "msr_top1_seen", "veil", value, condition=condition, **WHITE)
            for condition, value in (("none", 1.0), ("noise_120", at_120), ("noise_160", at_160))
        ]
        assert judge(planted(rows, VEIL_SURROGATES), claim).verdict == verdict


def test_a_claim_without_a_rule_is_shown_as_not_comparable_and_a_setting_is_counted():
    table = claims_table(run_of({"fi_uap": 0.5}), CLAIMS)
    rows = {row.label: row.cells for row in table.rows}
    weaker = next(label for label in rows if label.startswith("FaceCloak said to be less effective than Adv-CPG"))
    assert rows[weaker][3] == NOT_COMPARABLE
    assert "weights" in rows[weaker][4]
    veils = next(label for label in rows if label.startswith("veils hide more"))
    assert rows[veils][3:] == (NOT_COMPARABLE, "no visual in this run")
    minutes = next(label for label in rows if label.startswith("time to generate one person-specific veil"))
    assert rows[minutes][1] == "3 min"
    assert rows[minutes][3:] == (NOT_COMPARABLE, CLAIMS.unchecked[172])
    assert not any(label.startswith("Privacy-Commons identities") for label in rows)
    assert table.footnotes[0].startswith("122 other lines of the papers claim nothing to be checked")


def test_poisoning_claims_read_attackers_who_train():
    rows = [
        cell("poisoning", "psr_poisoning", method, value, surrogate="", judge="ir", condition="standard")
        for method, value in (("em_class", 0.9), ("rem", 0.8), ("opom_convex_hull", 0.2))
    ]
    claim = next(claim for claim in CLAIMS.checked if claim.line == 19)
    assert judge(planted(rows), claim).verdict == HELD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["claims"][0].update(rule={"best": {}}), "line 18: unknown rule 'best'; use greater"),
        (lambda c: c["claims"][0].update(rule={}), "line 18: a rule is one of greater"),
        (lambda c: c["claims"][0].update(rule={"greater": {"left": "em_psr"}}), "greater takes left, right"),
        (lambda c: c["claims"][0].update(rule={"order": "em_psr"}), "order takes a list"),
        (lambda c: c["claims"][2]["rule"]["close"].update(within="near"), "within is 'near'; write a number"),
        (lambda c: c["claims"][2]["rule"]["close"].update(left="nobody"), "left names no term: 'nobody'"),
        (lambda c: c["claims"][0].update(line=183), "line 183 is not in prose_claims.csv, which has 1 to 182"),
        (lambda c: c["claims"][0].update(claim="EM is best"), "line 18: prose_claims.csv says 'PSR and SSIM"),
        (lambda c: c["claims"].pop(), "line 182 (images without block variance loss"),
        (lambda c: c["claims"].append(c["claims"][0]), "has two entries"),
        (lambda c: c["claims"][0].pop("rule"), "needs line, claim and rule"),
        (lambda c: c["orderings"][0].pop("source"), "orderings: {'claim': 'OPOM: FI-UAP"),
        (lambda c: c["orderings"][0].update(rule={"order": ["x"]}), "order names no term: 'x'"),
        (lambda c: c["unchecked"][0].update(reason="tired"), "needs seed, lines and one of the reasons"),
        (lambda c: c["unchecked"][0].update(lines=["1 to 3"]), "'1 to 3' is no line and no range like 3-7"),
        (lambda c: c["unchecked"][0].update(seed="002"), "line 1 belongs to seed 000, not '002'"),
        (lambda c: c["terms"].update(spare=c["terms"]["em_psr"]), "terms: no rule uses 'spare'"),
        (lambda c: c["terms"]["em_psr"].update(colour=1), "terms.em_psr: unknown part 'colour'"),
        (lambda c: c["terms"]["em_psr"].update(variant="steps 2"), "terms.em_psr: variant is 'steps 2'"),
        (lambda c: c["terms"]["em_psr"].update(epsilon_255="8"), "terms.em_psr: epsilon_255 is '8'"),
        (lambda c: c["terms"]["em_psr"].update(judge={"x": "y"}), "a model card has no column 'x'"),
        (lambda c: c["terms"]["em_psr"].pop("metric"), "a term has at least protocol, metric and method"),
        (lambda c: c.pop("terms"), "'terms' is missing or unknown at the top"),
    ],
)
def test_a_bad_claim_is_refused_in_one_line(content, change, message):
    change(content)
    with pytest.raises(ReportedSchemaError) as refused:
        read_claims(content, PROSE)
    assert message in str(refused.value)
    assert str(refused.value).startswith("claims.yaml")
    assert "\n" not in str(refused.value)
