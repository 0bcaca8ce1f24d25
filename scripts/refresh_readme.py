"""Fill the generated parts of README.md: the reference run, the zoo, the data sets, and the example method.

usage: python scripts/refresh_readme.py            (`make readme`)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hydra.utils import get_class
from omegaconf import OmegaConf

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.estimate import Estimate, mean_estimate
from cloakbench.bench.report.index import Measured, is_control
from cloakbench.bench.report.interval_text import interval_text, number_text
from cloakbench.bench.report.norms import Norms
from cloakbench.datasets.listing import Layout

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference" / "bench"
EPSILON_255 = 8.0
EXAMPLE_YAML = "_target_: my_package.AwayFromMyself\nepsilon_255: 8\n"


def reference_table() -> str:
    """Black-box, hardened and white-box rates of the reference run at one budget, means over its surrogates."""
    results = load_results(REFERENCE)
    measured, budget = Measured(results), BudgetSize(EPSILON_255)
    norms = Norms(measured)
    identified = results.costs[results.costs["publication"] == ""]
    titles = "Black-box Top-1 | Black-box Top-5 | Hardened Top-1 | White-box† Top-1 | SSIM | Passes per photo"
    lines = [
        f"| Method | n | {titles} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run in measured.runs_at(budget):
        hardened = mean_estimate(
            [measured.cell("psr_p2_top1", run, surrogate, "hardened_ir") for surrogate in measured.surrogates_of(run)]
        )
        white = Estimate() if is_control(run) else measured.white_box("psr_p2_top1", run)
        same_budget = (identified["epsilon_255"] == run.budget.number) | identified["epsilon_255"].isna()
        cost = identified[(identified["method"] == run.method) & same_budget]["backward_per_image"].mean()
        overall = measured.black_box("psr_p2_top1", run)
        cells = [
            measured.title(run.method) + norms.aside(run, budget),
            str(overall.n),
            percent(overall, interval=True),
            percent(measured.black_box("psr_p2_top5", run), interval=True),
            percent(hardened),
            percent(white),
            f"{measured.quality('ssim', run).value:.3f}",
            f"{cost:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    setup = results.setup
    lines += [
        "",
        f"PSR (P2) in per cent, means over the surrogates of a method and {len(measured.judges('psr_p2_top1'))} "
        f"targets, in brackets the 95 % interval; {setup['identities']} people x "
        f"{setup['probes_per_identity']:g} photos, {setup['distractors']} distractors; "
        "costly methods on n photos. In brackets after a name: another norm ball than Linf 8; Fawkes bounds DSSIM. "
        "APF, GD-UAP and AdvFaces+ are trained at sizes for two cores, P3-Mask takes 20 of its 50 rounds.",
    ]
    return "\n".join(lines)


def percent(estimate: Estimate, *, interval: bool = False) -> str:
    if not estimate.ok:
        return ""
    ends = interval_text(100 * estimate.low, 100 * estimate.high) if interval else ""
    return f"{number_text(100 * estimate.value)} {ends}".strip()


def zoo_table() -> str:
    """Every embedded recogniser with its measured clean accuracy."""
    lines = ["| Name | Backbone | Head | Clean Top-1, % | AUC | Parameters file, kB |", "|---|---|---|--:|--:|--:|"]
    for path in sorted((ROOT / "models" / "weights").glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        if "head" not in card:
            continue  # that of a generator, or of attribute networks: they recognise nobody
        size = path.with_suffix(".safetensors").stat().st_size / 1000
        clean = card["clean"]
        lines.append(
            f"| `{card['name']}` | {short(card['backbone'])} | {short(card['head'])} | {100 * clean['top1']:.1f} | "
            f"{clean['auc']:.4f} | {size:.0f} |"
        )
    lines += [
        "",
        f"Clean Top-1: leave-one-out over {clean['probes']} photos of {clean['identities']} people who chose nothing, "
        f"with {clean['distractors']} distractors.",
    ]
    return "\n".join(lines)


def attribute_table() -> str:
    """Every embedded attribute network with its measured balanced accuracy."""
    head = [
        "Name",
        "Stands for",
        "Networks",
        "`world3`: mean, least, %",
        "`world10`: mean, least, %",
        "Parameters file, kB",
    ]
    lines, judged, chosen = [f"| {' | '.join(head)} |", "|---|---|---|---|---|--:|"], "", ""
    for path in sorted((ROOT / "models" / "weights").glob("*.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        if "classes" not in card:
            continue
        config = OmegaConf.load(ROOT / "conf" / "attribute_model" / f"{path.stem}.yaml")
        told = [of_task(card["tasks"][task]) for task in ("world3", "world10")]
        size = path.with_suffix(".safetensors").stat().st_size / 1000
        cells = [f"`{path.stem}`", config.stands_for, config.attribute_models, *told, f"{size:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
        judged, chosen = card["judged_on"], card["unseen"]
    return "\n".join(
        [
            *lines,
            "",
            f"Balanced accuracy on {judged} whom no network was shown, and by whom nothing was chosen: the",
            f"attributes of the two tasks were chosen on another {chosen}.",
        ]
    )


def of_task(accuracy: dict[str, float]) -> str:
    """Mean and least of the attributes of a task, in per cent."""
    least = min(accuracy, key=lambda name: accuracy[name])
    return f"{100 * sum(accuracy.values()) / len(accuracy):.1f}, {100 * accuracy[least]:.1f} ({least})"


def short(description: str) -> str:
    """``CosFace`` of ``CosFace(scale=30.0, margin=0.35)``."""
    return description.partition("(")[0]


def data_table() -> str:
    """Every named data set: what it is, where it comes from, and how much disk it takes, as its layout says."""
    lines = ["| `dataset=` | What | How to get it | Licence | Disk, GiB |", "|---|---|---|---|--:|"]
    for path in sorted((ROOT / "conf" / "dataset").glob("*.yaml")):
        what = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(" Root:")[0]
        target = OmegaConf.select(
            compose_config(["experiment=smoke", f"dataset={path.stem}"]), "dataset.layout._target_"
        )
        if target is None:
            continue
        layout: type[Layout] = get_class(target)
        page = f"[page]({layout.page})" if layout.page.startswith("http") else layout.page
        how = f"`cloakbench fetch dataset={path.stem}`, {page}" if layout.files else page
        disk = f"{layout.disk_gib:g}" if layout.disk_gib else ""
        lines.append(f"| `{path.stem}` | {what.rstrip('.')} | {how} | {layout.licence} | {disk} |")
    return "\n".join(lines)


def example_method() -> str:
    """The method the tests run, word for word."""
    code = (ROOT / "tests" / "methods" / "example_method.py").read_text(encoding="utf-8")
    return (
        f"```python\n# my_package.py\n{code.strip()}\n```\n\n"
        f"```yaml\n# my_conf/method/away_from_myself.yaml\n{EXAMPLE_YAML.strip()}\n```"
    )


def filled(text: str) -> str:
    """README with every generated part in place."""
    parts = {
        "table": reference_table(),
        "zoo": zoo_table(),
        "attributes": attribute_table(),
        "data": data_table(),
        "method": example_method(),
    }
    for name, content in parts.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{content}\n{end}{tail}"
    return text


def main() -> int:
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
