// Elements are made here and nowhere else: text is set as text, never read as HTML.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`class`, `onclick`, ...) and children, which are elements or texts. */
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same within a drawing. */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** A number as the report prints it; a dash where there is none. */
function number(value, decimals) {
  return value === null || value === undefined || value === "" ? "–" : Number(value).toFixed(decimals).replace("-", "−");
}

function interval(low, high, decimals) {
  return low === null || high === null ? "" : `[${number(low, decimals)}, ${number(high, decimals)}]`;
}

/** A drop-down with a label; `choices` are pairs of value and text. Null where there is nothing to choose. */
function choice(label, choices, chosen, onchange) {
  if (choices.length < 2) return null;
  const options = choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  const select = el("select", { "aria-label": label, onchange: (event) => onchange(event.target.value) }, options);
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

/** Show the dialog with a title and content; Escape closes it, and so does a click beside it. */
function openDialog(title, ...content) {
  const dialog = document.getElementById("dialog");
  const close = el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  dialog.replaceChildren(el("div", { class: "dialog" }, close, el("h3", { id: "dialog-title" }, title), content));
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  if (!dialog.open) dialog.showModal();
}
