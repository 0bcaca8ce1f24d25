// Controls of the ranking, the theme, and the first drawing.
function controls(found) {
  const set = (name) => (value) => { view[name] = value; if (name === "metric") { view.metric = Number(value); view.sort = "value"; view.up = null; } settle(); draw(); };
  const groups = unique(DATA.metrics.map((metric) => metric.group));
  const group = DATA.metrics[view.metric].group;
  const own = DATA.metrics.map((metric, place) => [metric, place]).filter(([metric]) => metric.group === group);
  const first = (name) => { const of = DATA.metrics.map((metric, place) => [metric, place]).filter(([metric]) => metric.group === name); return (of.find(([metric]) => metric.leads) || of[0])[1]; };
  const metric = DATA.metrics[view.metric];
  const over = metric.publication ? [[EVERY, "each by itself"], ...found.surrogates.map((name) => [name, name])]
    : found.surrogates.map((name) => [name, name === ALL ? "mean of all" : name]).concat(found.surrogates.includes(ALL) ? [[EVERY, "each by itself"]] : []);
  return el("div", { class: "controls" },
    choice("Protocol", groups.map((name) => [name, name]), group, (name) => set("metric")(first(name))),
    choice("Metric", own.map(([one, place]) => [`${place}`, one.title]), `${view.metric}`, set("metric")),
    choice("Target", found.targets.map((name) => [name, NAMES[name] || name]), view.target, set("target")),
    choice("Surrogate", over, view.surrogate, set("surrogate")),
    choice("Budget", found.budgets.length < 2 ? [] : [...found.budgets.map((size) => [size, `${size}/255`]), [EVERY, "all"]], view.budget, set("budget")),
    choice("Condition", found.conditions.map((name) => [name, DATA.conditions[name] || name]), view.condition, set("condition")),
    choice("Variant", found.variants.length < 2 ? [] : [[EVERY, "all"], ...found.variants.map((name) => [name, name || "as composed"])], view.variant, set("variant")),
    el("label", { class: "choice" }, el("span", {}, "Method"), el("input", { type: "search", value: view.words, placeholder: "any", "aria-label": "Method",
      oninput: (event) => { view.words = event.target.value; drawRows(); } })));
}

function drawRows() {
  const { rows, metric, table, empty } = ranked();
  const few = rows.some((row) => row.marks.includes("¶"));
  const notes = [
    metric.about && `${metric.unit === "%" ? "Share of" : "Over"} ${metric.about}.`,
    rows.some((row) => row.ties) && "Rows that share a letter were not told apart on the same photos (Holm, 5 %); Place is what these comparisons leave open.",
    few && "¶ on too few photos or people to be ranked beside the others.",
    view.target === HARDEST && "The target that protects least, named below the value; its interval does not know that it was chosen.",
    rows.some((row) => row.marks.includes("†")) && "† white-box: the target is the surrogate.",
    rows.some((row) => row.marks.includes("‡")) && "‡ another network of the surrogate's family.",
    rows.some((row) => row.marks.includes("§")) && "§ some planned photos failed and are not in n.",
    "A click on a value shows what is behind it.",
  ].filter(Boolean);
  const figure = scatter(rows, metric);
  document.getElementById("rows").replaceChildren(table, ...(empty ? [empty] : []), el("p", { class: "notes" }, notes.join(" ")), ...(figure ? [figure] : []));
}

function draw() {
  const found = settle(), root = document.getElementById("explorer"), focused = document.activeElement;
  const label = focused && root.contains(focused) ? focused.getAttribute("aria-label") : null;
  root.replaceChildren(controls(found), el("div", { id: "rows" }));
  drawRows();
  const again = label && [...root.querySelectorAll("select, input")].find((one) => one.getAttribute("aria-label") === label);
  if (again) again.focus();
}

function startTheme() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const say = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; say(); });
  button.hidden = false;
  say();
}

/** Open the section that an address names. */
function openPlace() {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!place) return;
  for (let at = place; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  const own = place.querySelector(":scope > details");
  if (own) own.open = true;
  place.scrollIntoView();
}

startTheme();
startTables();
if (DATA.metrics && DATA.metrics.length) {
  const lead = DATA.metrics.findIndex((metric) => metric.leads);
  view.metric = lead < 0 ? 0 : lead;
  view.budget = settle().budgets[0] || EVERY;
  document.getElementById("explorer").hidden = false;
  draw();
  let wide = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; drawRows(); } });
}
if (DATA.faces && DATA.faces.length) {
  document.getElementById("faces").hidden = false;
  drawGallery();
}
addEventListener("hashchange", openPlace);
openPlace();
