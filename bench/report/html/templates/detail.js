// What is behind a number: its cells, its denominator, and where each record of it lies.
function showDetail(row, metric) {
  const cells = Object.entries(DATA.series).flatMap(([key, rows]) => {
    const [place, condition, judge] = key.split("|");
    if (Number(place) !== view.metric || condition !== view.condition || [MEAN, WHITE, HARDEST].includes(judge)) return [];
    return rows.filter(([run, surrogate]) => run === row.run && (row.surrogate === ALL || surrogate === row.surrogate || !surrogate))
      .map(([, surrogate, value, low, high, n, people, marks]) => ({ judge, surrogate, value, low, high, n, people, marks }));
  });
  const facts = [
    ["Value", `${told(row, metric)} ${interval(row.low, row.high, metric.decimals)}`],
    ["Asked", `${NAMES[view.target] || view.target}${row.judge ? `: ${row.judge}` : ""}`],
    ["Share of", metric.unit === "%" ? metric.about : ""], ["Over", metric.unit === "%" ? "" : metric.about],
    ["Trials", `${row.n} of ${row.people} people`],
    ["Ties", row.ties], ["Paper", row.of.paper], ["Covers", row.of.scope], ["Remark", row.of.notes],
  ].filter(([, text]) => text);
  const list = el("dl", { class: "facts" }, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
  const table = cells.length ? el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ["Target", "Surrogate", metric.title, "95 % interval", "n"].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, cells.map((cell) => el("tr", {}, el("th", { scope: "row" }, cell.judge || "–"), el("td", {}, cell.surrogate || "–"),
      el("td", { class: "n" }, shownValue(cell, metric) + cell.marks),
      el("td", { class: "n" }, interval(cell.low, cell.high, metric.decimals)), el("td", { class: "n" }, `${cell.n}`)))))) : null;
  openDialog(`${row.of.title}${row.of.budget ? ` at ${row.of.budget_title}` : ""}: ${metric.title}`, list, table, recordsOf(row, metric));
}

/** Files that hold the number and its records, and the line that reads them. */
function recordsOf(row, metric) {
  if (row.of.source) return el("p", { class: "files" }, "Of the run ", el("a", { href: `runs/${row.of.page}.html` }, row.of.source), ", which has its records.");
  const links = [el("a", { href: "tables/measurements.csv" }, "measurements.csv")];
  const budget = row.of.budget ? ` & (r.epsilon_255 == ${row.of.budget})` : "";
  const chosen = `r[(r.method == ${JSON.stringify(row.of.method)}) & (r.variant == ${JSON.stringify(row.of.variant)})${budget}`
    + ` & (r.condition == ${JSON.stringify(view.condition)})]`;
  if (!metric.records) {
    return el("p", { class: "files" }, "In ", links, ". This run was kept without its records of single photos.");
  }
  const file = `data/records_${metric.protocol}.parquet`;
  links.push(" and ", el("a", { href: file }, file));
  return el("div", { class: "files" }, el("p", {}, "In ", links, ", a row for each photo:"),
    el("pre", { tabindex: "0" }, `import pandas as pd\nr = pd.read_parquet(${JSON.stringify(file)})\n${chosen}`));
}
