// The ranking: one table over every number of the run. What is chosen lives in `view`; `rowsOf` reads it, `draw` shows it.
const MEAN = "mean", WHITE = "white", HARDEST = "hardest", ALL = "all", EVERY = "*";
const NAMES = {
  [MEAN]: "mean, black-box", [WHITE]: "mean, white-box", [HARDEST]: "the one fooled least", "": "nobody: a measure of pictures",
};
const view = { metric: 0, condition: "", target: MEAN, surrogate: ALL, budget: EVERY, variant: EVERY, words: "", sort: "value", up: null };

const unique = (values) => [...new Set(values)];
const seriesOf = (judge) => DATA.series[`${view.metric}|${view.condition}|${judge}`] || [];
const besideOf = (metric, row) => {
  const of = DATA.beside.values[metric.beside ?? metric.publication] || {};
  return of[`${row.run}|${row.surrogate}`] || of[`${row.run}|`] || [];
};

/** What can be chosen for the metric at hand. */
function choices() {
  const prefix = `${view.metric}|`;
  const places = Object.keys(DATA.series).filter((key) => key.startsWith(prefix)).map((key) => key.split("|"));
  const conditions = unique(places.map((place) => place[1]));
  const judges = unique(places.filter((place) => place[1] === view.condition).map((place) => place[2]));
  const general = [MEAN, WHITE, HARDEST].filter((judge) => judges.includes(judge));
  const targets = [...general, ...judges.filter((judge) => !general.includes(judge) && (judge || !general.length))];
  const rows = targets.flatMap(seriesOf);
  const known = unique(rows.map((row) => row[1]));
  const surrogates = [...(known.includes(ALL) ? [ALL] : []), ...known.filter((name) => name && name !== ALL)];
  const budgets = unique(rows.map((row) => DATA.runs[row[0]].budget)).filter(Boolean).sort((a, b) => b - a);
  const variants = unique(rows.map((row) => DATA.runs[row[0]].variant));
  return { conditions, targets, surrogates, budgets, variants };
}

/** Another metric may lack what was chosen: keep what it has, else its first. */
function settle() {
  const metric = DATA.metrics[view.metric];
  const prefix = `${view.metric}|`;
  const conditions = unique(Object.keys(DATA.series).filter((key) => key.startsWith(prefix)).map((key) => key.split("|")[1]));
  if (!conditions.includes(view.condition)) view.condition = conditions.includes("none") ? "none" : conditions[0];
  const found = choices();
  if (!found.targets.includes(view.target)) view.target = found.targets[0];
  if (view.surrogate !== EVERY && !found.surrogates.includes(view.surrogate)) view.surrogate = found.surrogates.includes(ALL) ? ALL : EVERY;
  if (view.budget !== EVERY && !found.budgets.includes(view.budget)) view.budget = metric.publication ? EVERY : found.budgets[0] || EVERY;
  if (view.variant !== EVERY && !found.variants.includes(view.variant)) view.variant = EVERY;
  return found;
}

/** The rows of the view, with ties and what stands beside the value. */
function rowsOf() {
  const metric = DATA.metrics[view.metric];
  const rows = seriesOf(view.target).map(([run, surrogate, value, low, high, n, people, marks, judge]) =>
    ({ run, surrogate, value, low, high, n, people, marks, judge, of: DATA.runs[run] }));
  const asked = rows.filter((row) =>
    (view.surrogate === EVERY ? row.surrogate !== ALL || !rows.some((other) => other.run === row.run && other.surrogate !== ALL)
      : row.surrogate === view.surrogate || (row.surrogate === "" && !rows.some((other) => other.run === row.run && other.surrogate === view.surrogate))
        || (view.surrogate === ALL && !rows.some((other) => other.surrogate === ALL && other.run === row.run)))
    && (view.budget === EVERY || !row.of.budget || row.of.budget === view.budget)
    && (view.variant === EVERY || row.of.variant === view.variant)
    && view.words.toLowerCase().split(/\s+/).every((word) => `${row.of.title} ${row.of.method} ${row.surrogate} ${row.of.source || ""}`.toLowerCase().includes(word)));
  const budget = metric.publication ? "" : view.budget;
  const ties = view.target === MEAN
    ? DATA.ties[`${view.metric}|${view.condition}|${budget}|${metric.publication ? "" : view.surrogate}`] || [] : [];
  for (const row of asked) {
    const tie = ties.find(([run, surrogate]) => run === row.run && (!metric.publication || surrogate === row.surrogate));
    [row.ties, row.best, row.worst] = tie ? tie.slice(2) : ["", "", ""];
    row.beside = besideOf(metric, row);
  }
  return sorted(asked, metric);
}

function sorted(rows, metric) {
  const up = view.up === null ? metric.higher === false : view.up;
  const keys = {
    value: (row) => row.value, method: (row) => row.of.title, budget: (row) => Number(row.of.budget) || 0, n: (row) => row.n,
    surrogate: (row) => row.surrogate, ties: (row) => row.ties || "~", place: (row) => row.best || 1e9,
  };
  const key = keys[view.sort] || ((row) => row.beside[Number(view.sort)] ?? null);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  const known = rows.filter((row) => key(row) !== null), unknown = rows.filter((row) => key(row) === null);
  return [...known.sort((a, b) => (up ? 1 : -1) * compare(key(a), key(b))), ...unknown];
}

const title = (row) => row.of.title + (row.of.budget && view.budget === EVERY ? ` at ${row.of.budget_title}` : "");
const shownValue = (row, metric) => (row.value === null ? "∞" : number(row.value, metric.decimals));
const told = (row, metric) => `${shownValue(row, metric)} ${metric.unit}`.trim();

/** A bar for the value and a line for its interval, on a scale that all rows share. */
function bar(row, metric, scale) {
  const part = (value) => `${(100 * Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low || 1)))).toFixed(2)}%`;
  const ends = row.low === null ? null : el("i", { class: "ends", style: `left:${part(row.low)};right:calc(100% - ${part(row.high)})` });
  const kind = row.of.control ? "fill control" : row.marks.includes("¶") ? "fill few" : "fill";
  return el("span", { class: "bar", "aria-hidden": "true" }, el("i", { class: kind, style: `width:${part(row.value ?? scale.high)}` }), ends);
}

function line(row, metric, scale, columns) {
  const words = interval(row.low, row.high, metric.decimals);
  const hover = `${title(row)}: ${told(row, metric)} ${words && `95 % interval ${words}`}, n ${row.n}, ${row.people} people`;
  const cells = {
    place: el("td", { class: "place", "data-label": "Place" }, row.best ? (row.best === row.worst ? `${row.best}` : `${row.best}–${row.worst}`) : ""),
    method: el("th", { scope: "row" }, row.of.title, el("small", {}, [row.of.control || row.surrogate === ALL ? "" : row.surrogate, row.of.source].filter(Boolean).join(", "))),
    budget: el("td", { class: "n size", "data-label": "ε" }, row.of.ball),
    value: el("td", { class: "value" },
      el("button", { type: "button", title: hover, "aria-label": `${hover}. Show what is behind it`, onclick: () => showDetail(row, metric) },
        el("b", {}, shownValue(row, metric) + row.marks), el("small", {}, words), bar(row, metric, scale))),
    ties: el("td", { "data-label": "Ties" }, row.ties || ""),
    n: el("td", { class: "n", "data-label": "n" }, `${row.n}`),
  };
  const shown = columns.map(([key, , column]) => cells[key]
    || el("td", { class: "n", "data-label": DATA.beside.columns[column].title }, number(row.beside[column] ?? null, DATA.beside.columns[column].decimals)));
  if (row.judge) cells.value.append(el("small", { class: "who" }, row.judge));
  return el("tr", { class: row.of.control ? "control" : row.marks.includes("¶") ? "few" : "" }, shown);
}

function ranked() {
  const metric = DATA.metrics[view.metric], rows = rowsOf();
  const ends = rows.flatMap((row) => [row.value, row.low, row.high]).filter((end) => end !== null);
  const scale = metric.unit === "%" ? { low: Math.min(0, ...ends), high: 100 } : { low: Math.min(0, ...ends), high: Math.max(...ends) };
  const arrow = { true: " ↑", false: " ↓" }[metric.higher] || "";
  const beside = DATA.beside.columns.map((column, place) => [`${place}`, column.title, place])
    .filter(([, , place]) => rows.some((row) => (row.beside[place] ?? null) !== null));
  const places = rows.some((row) => row.best);
  const columns = [...(places ? [["place", "Place"]] : []), ["method", "Method"], ["budget", "ε"],
    ["value", `${metric.title}${arrow}${metric.unit && `, ${metric.unit}`}`], ...(places ? [["ties", "Ties"]] : []), ["n", "n"], ...beside];
  const heads = columns.map(([key, label]) => {
    const current = view.sort === key;
    const up = view.up === null ? metric.higher === false : view.up;
    const ascends = ["method", "place", "ties", "surrogate"].includes(key);
    const sort = () => { view.up = current ? !up : key === "value" ? null : ascends; view.sort = key; draw(); document.querySelector(`#explorer [data-key="${key}"]`).focus(); };
    const hints = { place: "Best and worst place that the paired comparisons leave", ties: "Rows that share a letter were not told apart on the same photos" };
    return el("th", { scope: "col", class: key, "aria-sort": current ? (up ? "ascending" : "descending") : null },
      el("button", { type: "button", "data-key": key, title: hints[key], onclick: sort }, label));
  });
  const body = rows.map((row) => line(row, metric, scale, columns));
  const empty = rows.length ? null : el("p", { class: "note" }, "No row fits these choices.");
  return { rows, metric, table: el("table", { class: "ranking" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body)), empty };
}
