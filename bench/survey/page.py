"""The sheet of one rater: a page that holds its photos, asks two questions about each, and saves the answers itself.

It loads nothing and sends nothing; a browser is told to refuse both.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping

from PIL import Image
from torch import Tensor

from cloakbench.bench.core.escape import html
from cloakbench.bench.survey.study import Rater, Study

INFORMATION, NATURALNESS = "information_sufficiency", "visual_naturalness"
QUESTIONS: Mapping[str, str] = {
    INFORMATION: "How much of what the original tells does the other picture still tell? (1 nothing, 10 all of it)",
    NATURALNESS: "How natural does the other picture look beside the original? (1 not at all, 10 just as natural)",
}
COLUMNS = ("study", "rater", "group", "set", "code", *QUESTIONS)
"""Of the CSV file that a page saves."""
LOWEST, HIGHEST = 1, 10

CONSENT = (
    "You are asked to compare pictures of faces with changed versions of them. Taking part is voluntary: you may stop "
    "at any time, without a reason, by closing this page, and nothing is kept then. The page works without a "
    "connection and sends nothing. When you are done it saves a file on your device with your ratings and the name of "
    "this sheet, and nothing about you; hand that file back to whoever gave you the sheet. Ratings are published as "
    "averages over all who took part. Please do not copy or pass on the pictures."
)

_STYLE = """
body { font-family: sans-serif; max-width: 46rem; margin: 1rem auto; padding: 0 1rem; color: #222; background: #fff; }
img { width: 14rem; height: 14rem; image-rendering: auto; background: #ddd; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
fieldset { margin: 0 0 1rem; } label { margin-right: 0.7rem; white-space: nowrap; } [hidden] { display: none; }
button { font-size: 1rem; padding: 0.3rem 1rem; }
"""

_SCRIPT = """
"use strict";
const cell = (value) => /[",\\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : String(value);
function toCsv(study, ratings) {
  const rows = [study.columns];
  for (const [set, code] of [...study.items].sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : 1))) {
    const given = ratings[set + " " + code] || {};
    const answers = study.questions.map((name) => given[name] === undefined ? "" : given[name]);
    rows.push([study.name, study.rater, study.group, set, code, ...answers]);
  }
  return rows.map((row) => row.map((value) => cell(String(value))).join(",")).join("\\n") + "\\n";
}
function start() {
  const study = JSON.parse(document.getElementById("study").textContent);
  const ratings = {}, get = (id) => document.getElementById(id);
  let place = 0;
  const key = () => study.items[place][0] + " " + study.items[place][1];
  const done = () => study.items.filter(([set, code]) =>
    study.questions.every((name) => (ratings[set + " " + code] || {})[name] !== undefined)).length;
  function show() {
    const [set, , picture] = study.items[place];
    get("original").src = study.originals[set];
    get("other").src = picture;
    get("progress").textContent =
      "Picture " + (place + 1) + " of " + study.items.length + "; " + done() + " rated";
    for (const button of document.querySelectorAll("input[type=radio]"))
      button.checked = (ratings[key()] || {})[button.name] === Number(button.value);
    get("back").disabled = place === 0;
    get("next").disabled = place === study.items.length - 1;
  }
  for (const button of document.querySelectorAll("input[type=radio]"))
    button.addEventListener("change", () => {
      ratings[key()] = { ...(ratings[key()] || {}), [button.name]: Number(button.value) };
      show();
    });
  get("agree").addEventListener("change", () => { get("sheet").hidden = !get("agree").checked; });
  get("back").addEventListener("click", () => { place -= 1; show(); });
  get("next").addEventListener("click", () => { place += 1; show(); });
  get("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([toCsv(study, ratings)], { type: "text/csv" }));
    link.download = "answers_" + study.rater + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  show();
}
if (typeof document !== "undefined") start();
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def pictures(study: Study) -> dict[tuple[int, str], str]:
    """Every picture of a study as a ``data:`` address, the originals under an empty code; made once for all sheets."""
    made = {(number, ""): _address(face.original) for number, face in enumerate(study.sets, start=1)}
    labels = study.labels
    return made | {
        (number, code): _address(study.sets[number - 1].protected[labels[code]]) for number, code in study.items
    }


def page(study: Study, rater: Rater, shown: Mapping[tuple[int, str], str]) -> str:
    """The sheet of a rater as one HTML file.

    Args:
        study: what is rated.
        rater: who does, and in which order.
        shown: what `pictures` made of the study.
    """
    items = [(*study.items[place], shown[study.items[place]]) for place in rater.order]
    held = {
        "name": study.name,
        "rater": rater.name,
        "group": rater.group,
        "columns": COLUMNS,
        "questions": list(QUESTIONS),
        "originals": {number: shown[number, ""] for number in range(1, len(study.sets) + 1)},
        "items": items,
    }
    text = json.dumps(held).replace("<", "\\u003c")  # nothing inside ends the element
    return "\n".join(
        (
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>Pictures of faces: {html(rater.name)}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>Pictures of faces</h1><p>{html(CONSENT)}</p>",
            '<p><label><input type="checkbox" id="agree"> I have read this and take part.</label></p>',
            '<div id="sheet" hidden><p id="progress"></p>',
            '<figure><img id="original" alt="original"><figcaption>Original</figcaption></figure>',
            '<figure><img id="other" alt="other picture"><figcaption>Other picture</figcaption></figure>',
            *(_question(name, asked) for name, asked in QUESTIONS.items()),
            '<p><button id="back">Back</button> <button id="next">Next</button>',
            '<button id="save">Save answers</button></p></div>',
            f'<script type="application/json" id="study">{text}</script>',
            f"<script>{_SCRIPT}</script></body></html>\n",
        )
    )


def _question(name: str, asked: str) -> str:
    marks = [
        f'<label><input type="radio" name="{name}" value="{mark}"> {mark}</label>'
        for mark in range(LOWEST, HIGHEST + 1)
    ]
    return f"<fieldset><legend>{html(asked)}</legend>{''.join(marks)}</fieldset>"


def _address(image: Tensor) -> str:
    """A uint8 picture ``[3, H, W]`` as a PNG inside an address."""
    png = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
