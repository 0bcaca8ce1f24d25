// The gallery: one face at a time under every method, the least known first if asked, and both photos large on a click.
const shown = { face: 0, sort: "given", difference: false };

const asked = (card) => card.seen.filter((one) => one.recognised !== null);
const black = (card) => asked(card).filter((one) => !one.white);
const count = (card) => black(card).filter((one) => one.recognised).length;

function verdict(card) {
  const all = black(card);
  if (!all.length) return el("p", { class: "seen none" }, "nobody was asked about this photo");
  const dots = all.map((one) => el("i", { class: one.recognised ? "known" : "lost" }));
  return el("p", { class: "seen" }, el("span", { class: "dots", "aria-hidden": "true" }, dots), `${count(card)} of ${all.length} still know the person`);
}

function cards(face) {
  const list = [...face.cards];
  if (shown.sort === "known") list.sort((a, b) => (black(a).length ? count(a) / black(a).length : 9) - (black(b).length ? count(b) / black(b).length : 9));
  if (shown.sort === "name") list.sort((a, b) => a.title.localeCompare(b.title));
  return list;
}

function cardOf(face, card, list) {
  const words = `${card.title}${card.budget ? ` at ${card.budget}` : ""}`;
  return el("button", { type: "button", class: "card", "aria-label": `${words}: show large`, onclick: () => showPhoto(face, list, list.indexOf(card)) },
    el("img", { src: shown.difference ? card.difference : card.photo, alt: "", width: 112, height: 112, loading: "lazy" }),
    el("strong", {}, words), card.surrogate ? el("small", {}, card.surrogate) : "", verdict(card));
}

function drawGallery() {
  const root = document.getElementById("faces"), face = DATA.faces[shown.face];
  const tabs = DATA.faces.map((one, place) => el("button", {
    type: "button", class: "face", "aria-pressed": place === shown.face ? "true" : "false", title: one.name,
    onclick: () => { shown.face = place; drawGallery(); document.querySelectorAll("#faces .face")[place].focus(); },
  }, el("img", { src: one.photo, alt: one.name, width: 56, height: 56 }), one.about ? el("small", {}, one.about) : ""));
  const list = cards(face);
  const order = choice("Order", [["given", "as in tables"], ["known", "known to fewest first"], ["name", "by name"]], shown.sort, (value) => { shown.sort = value; drawGallery(); });
  const difference = el("label", { class: "choice" }, el("input", { type: "checkbox", checked: shown.difference, onchange: (event) => { shown.difference = event.target.checked; drawGallery(); } }), el("span", {}, "differences, ×10"));
  const original = el("div", { class: "card original" }, el("img", { src: face.photo, alt: "", width: 112, height: 112 }), el("strong", {}, "Original"), el("small", {}, face.name), el("a", { href: face.file }, "full size"));
  root.replaceChildren(el("div", { class: "controls" }, el("div", { class: "tabs", role: "group", "aria-label": "Face" }, tabs), order, difference),
    el("div", { class: "cards" }, original, list.map((card) => cardOf(face, card, list))));
}

function picture(source, words, file) {
  const image = el("img", { src: source, alt: words, width: 224, height: 224 });
  return el("figure", {}, file ? el("a", { href: file }, image) : image, el("figcaption", {}, words));
}

/** Before, after and difference of one method; arrow keys go to the next one. */
function showPhoto(face, list, place) {
  const card = list[place], step = (by) => showPhoto(face, list, (place + by + list.length) % list.length);
  const rows = card.seen.map((one) => el("tr", {}, el("th", { scope: "row" }, one.judge + (one.white ? " †" : "")),
    el("td", { class: one.recognised ? "known" : "lost" }, one.recognised === null ? "not asked" : one.recognised ? "knows the person" : "does not"),
    el("td", { class: "n" }, number(one.similarity, 3)), el("td", { class: "n" }, number(one.bar, 3)),
    el("td", {}, one.recognised_clean === null ? "–" : one.recognised_clean ? "known" : "not known")));
  const heads = ["Recogniser", "Photo", "Similarity to the person", "To the nearest stranger", "Before"];
  const table = rows.length ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows)),
    el("p", { class: "note" }, "Cosines to the other photos of the person and to the most alike of the strangers in the gallery; a recogniser knows the person whose photo comes first.",
      card.seen.some((one) => one.white) ? " † the network that the method was run against." : "")) : el("p", { class: "note" }, "Nobody was asked about this photo, or the run was kept without the answers.");
  const buttons = el("p", { class: "steps" }, el("button", { type: "button", onclick: () => step(-1) }, "← Previous"), el("button", { type: "button", onclick: () => step(1) }, "Next →"));
  openDialog(`${card.title}${card.budget ? ` at ${card.budget}` : ""}`, el("p", { class: "kind" }, face.name, card.surrogate ? `, made with ${card.surrogate}` : ""),
    el("div", { class: "pictures" }, picture(face.photo, "Before", face.file), picture(card.photo, "After", card.file), picture(card.difference, "Difference, ×10"),
      card.others.map(([name, source]) => picture(source, name))), table, buttons);
  document.getElementById("dialog").onkeydown = (event) => {
    if (event.key === "ArrowRight") step(1);
    if (event.key === "ArrowLeft") step(-1);
  };
}
