// Tables of the report: a click on a head sorts within each section, a field above long ones filters.
function readNumber(text) {
  const found = text.replaceAll("−", "-").match(/-?\d+(\.\d+)?(e-?\d+)?/);
  return found ? Number(found[0]) : null;
}

/** Compare two cells: numbers by size, before texts, which stand by the alphabet; empty ones come last. */
function compareCells(one, other, numeric) {
  if (!one || !other || one === "–" || other === "–") return (one && one !== "–" ? 0 : 1) - (other && other !== "–" ? 0 : 1);
  if (numeric) return { down: readNumber(other) - readNumber(one) };
  return { down: one.localeCompare(other) };
}

function sortTable(table, column, head) {
  const ascending = head.getAttribute("aria-sort") === "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0], parts = [[]];
  for (const row of [...body.rows]) {
    if (row.classList.contains("section")) parts.push([row]);
    else parts.at(-1).push(row);
  }
  const sorted = parts.flatMap((rows) => {
    const lead = rows[0] && rows[0].classList.contains("section") ? [rows[0]] : [];
    const keyed = rows.slice(lead.length).map((row) => [row.cells[column].textContent.trim(), row]);
    const known = keyed.filter(([text]) => text && text !== "–");
    const numeric = known.length > 0 && known.every(([text]) => /^[−-]?\d/.test(text));
    keyed.sort(([one], [other]) => {
      const found = compareCells(one, other, numeric);
      return typeof found === "number" ? found : (ascending ? -found.down : found.down);
    });
    return [...lead, ...keyed.map(([, row]) => row)];
  });
  body.append(...sorted);
}

function filterTable(table, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !row.classList.contains("section") && !wanted.every((word) => text.includes(word));
  }
}

function startTables() {
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const label = el("button", { type: "button", onclick: () => sortTable(table, column, head) }, head.textContent);
      head.replaceChildren(label);
    });
    if (table.classList.contains("long")) {
      const field = el("input", {
        type: "search", placeholder: "Filter rows", "aria-label": "Filter rows",
        oninput: (event) => filterTable(table, event.target.value),
      });
      table.parentElement.before(field);
    }
  }
}
