// The ranking as a picture: the value over picture quality, change or cost. Points are told apart by shape and name.
const plot = { column: null };

function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const wide = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= 6);
  const found = [];
  for (let at = Math.ceil(low / wide); at * wide <= high + 1e-9; at += 1) found.push(at * wide);
  return found;
}

function around(values, margin) {
  const low = Math.min(...values), high = Math.max(...values), pad = margin * (high - low || Math.abs(high) || 1);
  return [low - pad, high + pad];
}

function symbol(kind, x, y) {
  if (kind === "control") return svg("path", { d: `M${x - 5} ${y - 5}L${x + 5} ${y + 5}M${x - 5} ${y + 5}L${x + 5} ${y - 5}` });
  if (kind === "few") return svg("rect", { x: x - 4.5, y: y - 4.5, width: 9, height: 9 });
  return svg("circle", { cx: x, cy: y, r: 5 });
}

function scatter(rows, metric) {
  const columns = DATA.beside.columns.map((column, place) => [`${place}`, column.title])
    .filter(([place]) => rows.filter((row) => (row.beside[place] ?? null) !== null).length > 1);
  if (!columns.length) return null;
  if (!columns.some(([place]) => place === plot.column)) plot.column = columns[0][0];
  const column = DATA.beside.columns[plot.column];
  const points = rows.filter((row) => row.value !== null && (row.beside[plot.column] ?? null) !== null);
  if (!points.length) return null;
  const wide = Math.max(320, Math.min(1000, document.getElementById("explorer").clientWidth)), high = wide < 600 ? 300 : 400;
  const box = { left: 46, right: wide - 12, top: 12, bottom: high - 40 };
  const xs = points.map((row) => row.beside[plot.column]), log = Math.min(...xs) >= 0 && Math.max(...xs) > 200 && column.title === "Passes";
  const across = (value) => (log ? Math.log10(1 + value) : value);
  const [left, right] = around(xs.map(across), 0.06);
  const [low, top] = around(points.flatMap((row) => [row.value, row.low ?? row.value, row.high ?? row.value]), 0.05);
  const x = (value) => box.left + ((across(value) - left) / (right - left)) * (box.right - box.left);
  const y = (value) => box.bottom - ((value - low) / (top - low)) * (box.bottom - box.top);
  const drawing = svg("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, class: "scatter", role: "group",
    "aria-label": `${metric.title} over ${column.title}, ${points.length} points` });
  const marks = log ? [0, 1, 10, 100, 1000, 10000].filter((tick) => tick <= Math.max(...xs)) : ticks(left, right);
  for (const tick of marks) {
    drawing.append(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom }),
      svg("text", { x: x(tick), y: box.bottom + 16, "text-anchor": "middle" }, `${Number(tick.toPrecision(6))}`));
  }
  for (const tick of ticks(low, top)) {
    drawing.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, `${Number(tick.toPrecision(6))}`.replace("-", "−")));
  }
  drawing.append(svg("text", { x: (box.left + box.right) / 2, y: high - 4, "text-anchor": "middle" }, column.title));
  const taken = points.map((row) => [x(row.beside[plot.column]) - 6, y(row.value) - 6, 12, 12]);
  for (const row of points) {
    const at = [x(row.beside[plot.column]), y(row.value)], kind = row.of.control ? "control" : row.marks.includes("¶") ? "few" : "method";
    const words = `${title(row)}: ${told(row, metric)} ${interval(row.low, row.high, metric.decimals)}, ${column.title} ${number(row.beside[plot.column], column.decimals)}`;
    const ends = row.low === null ? "" : svg("line", { x1: at[0], x2: at[0], y1: y(row.low), y2: y(row.high) });
    drawing.append(svg("g", { class: `point ${kind}`, tabindex: "0", role: "button", "aria-label": words, onclick: () => showDetail(row, metric),
      onkeydown: (event) => { if (event.key === "Enter") showDetail(row, metric); } }, svg("title", {}, words), ends, symbol(kind, ...at)));
    label(drawing, title(row), at, taken, box);
  }
  const picked = choice("over", columns, plot.column, (value) => { plot.column = value; draw(); });
  return el("figure", { class: "plot" }, el("figcaption", {}, el("b", {}, `${metric.title}${metric.unit && `, ${metric.unit}`}`), " ", picked || ` over ${column.title}`,
    el("span", { class: "key" }, "● method  □ few photos  × control; lines are 95 % intervals")), drawing);
}

/** A name beside its point, where it covers nothing; every point says its name under the pointer, too. */
function label(drawing, words, [x, y], taken, box) {
  const wide = 6.4 * words.length + 4, places = [[x + 9, y + 4, "start"], [x - 9, y + 4, "end"], [x + 4, y - 9, "start"], [x + 4, y + 17, "start"]];
  for (const [left, base, anchor] of places) {
    const area = [anchor === "end" ? left - wide : left, base - 11, wide, 14];
    const free = taken.every(([ax, ay, aw, ah]) => area[0] > ax + aw || area[0] + area[2] < ax || area[1] > ay + ah || area[1] + area[3] < ay);
    if (free && area[0] > box.left && area[0] + wide < box.right && area[1] > box.top && base < box.bottom) {
      taken.push(area);
      drawing.append(svg("text", { class: "name", x: left, y: base, "text-anchor": anchor }, words));
      return;
    }
  }
}
