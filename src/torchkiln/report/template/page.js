"use strict";
// Sorting of tables by a click on a head, and all folds open on paper. The page is whole without it.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    if (!head.textContent.trim() || head.querySelector(".hidden")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
      const order = [...body.rows].sort((a, b) => down * compare(a.cells[column], b.cells[column]));
      body.append(...order);
    });
  });
}
function compare(a, b) {
  const [x, y] = [a, b].map((cell) => parseFloat(cell.dataset.v ?? plain(cell.textContent)));
  if (Number.isNaN(x) || Number.isNaN(y)) {
    if (Number.isNaN(x) && Number.isNaN(y)) return a.textContent.localeCompare(b.textContent);
    return Number.isNaN(x) ? 1 : -1;
  }
  return x - y;
}
function plain(text) {
  return text.trim().replaceAll(",", "").replaceAll("\u2212", "-");
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const fold of opened) fold.open = true;
});
addEventListener("afterprint", () => {
  for (const fold of opened) fold.open = false;
});
