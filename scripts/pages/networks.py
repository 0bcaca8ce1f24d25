"""A page for each recogniser: its card, its weights and their terms, and how it wants its pixels."""

from __future__ import annotations

import json
from typing import Any

from cloakbench.bench.config.compose import missing_settings, resolved
from cloakbench.bench.core.escape import markdown
from pages import configs
from pages.page import ROOT, Page, code, facts, first_comment, index_table, joined

UNKNOWN = "unknown"


def network_pages() -> list[Page]:
    """A page for each recogniser, and their list."""
    settings = configs.composed("model")
    told = {name: _card(settings[name]) for name in configs.names("model")}
    pages = [_page(name, card) for name, card in told.items()]
    head = ["Name", "Backbone", "Head", "Training set", "Licence of the weights", "Clean Top-1"]
    rows = [_row(name, card) for name, card in told.items()]
    about = "Surrogate and target are roles that a recogniser plays: `model@surrogate=NAME`, `model@target=NAME`. "
    about += "`cloakbench fetch model=NAME` fetches weights that are published, or says where they are to be had."
    return [Page("models/index.md", "Recognisers", joined("# Recognisers", about, index_table(head, rows))), *pages]


def _row(name: str, card: dict[str, Any]) -> list[str]:
    told = [markdown(str(card.get(key) or "")) for key in ("backbone", "head", "training_set")]
    return [
        f"[`{name}`]({name}.md)",
        *told,
        markdown(str(card.get("licence_weights") or UNKNOWN)),
        _percent(card.get("clean_top1")),
    ]


def _card(config: Any) -> dict[str, Any]:
    """What the config or, for an embedded network, the card beside its weights says."""
    plain = resolved(config) if not missing_settings(config) else {}
    card = dict(plain.get("card") or {})
    stored = ROOT / "models" / "weights" / f"{plain.get('name', '')}.json"
    if plain.get("name") and stored.is_file():
        kept = json.loads(stored.read_text(encoding="utf-8"))
        clean = kept.get("clean", {})
        card = {**kept, "clean_top1": clean.get("top1"), "licence_weights": "MIT", "licence_code": "MIT"}
        card |= {"licence_training_data": "MIT (rendered faces)", "clean": clean}
    weights = plain.get("weights")
    if isinstance(weights, dict):
        card |= {"file": weights.get("path"), "sha256": weights.get("sha256"), "urls": weights.get("urls")}
    return card


def _page(name: str, card: dict[str, Any]) -> Page:
    settings = configs.text("model", name)
    clean = card.get("clean") or {}
    values = {
        "Name": name,
        "Family": card.get("family"),
        "Backbone": card.get("backbone"),
        "Head": card.get("head"),
        "Training set": card.get("training_set"),
        "Stands for": card.get("stands_for"),
        "Clean Top-1": _percent(card.get("clean_top1")),
        "Clean AUC": f"{clean['auc']:.4f}" if "auc" in clean else "",
        "Licence of the code": card.get("licence_code") or UNKNOWN,
        "Licence of the weights": card.get("licence_weights") or UNKNOWN,
        "Licence of the training data": card.get("licence_training_data") or UNKNOWN,
        "Weights": card.get("file"),
        "SHA-256": card.get("sha256"),
        "Published at": card.get("page"),
        "Note": card.get("note"),
    }
    parts = [f"# {name}", markdown(first_comment(settings)), facts(values), "## Settings", code(settings, "yaml")]
    parts.append(code(f"cloakbench check model={name}\ncloakbench fetch model={name}", "sh"))
    return Page(f"models/{name}.md", name, joined(*parts))


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.1f} %"
