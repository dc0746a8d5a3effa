// Tables sort by the button in a header: first way, other way, as written.

const written = new WeakMap();
const collator = new Intl.Collator("en", { numeric: true });

function key(row, column, isNumber) {
  const cell = row.cells[column];
  if (!isNumber) return cell.textContent;
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

function sort(table, header) {
  const headers = [...header.parentNode.cells];
  const column = headers.indexOf(header);
  const isNumber = header.classList.contains("number");
  const ways = isNumber ? ["descending", "ascending"] : ["ascending", "descending"];
  const way = [...ways, null][ways.indexOf(header.getAttribute("aria-sort")) + 1];
  headers.forEach((other) => other.removeAttribute("aria-sort"));
  if (way) header.setAttribute("aria-sort", way);

  const body = table.tBodies[0];
  if (!written.has(table)) written.set(table, [...body.rows]);
  const rows = [...written.get(table)];
  if (!way) return body.replaceChildren(...rows);
  // Headings of groups mean nothing in another order.
  const keys = new Map(rows.filter((row) => row.className !== "group").map((row) => [row, key(row, column, isNumber)]));
  const sign = way === "descending" ? -1 : 1;
  const order = (a, b) => sign * (isNumber ? a - b : collator.compare(a, b));
  // Missing figures stay last, whichever way.
  const compare = ([, a], [, b]) => (a === null) - (b === null) || (a === null ? 0 : order(a, b));
  body.replaceChildren(...[...keys].sort(compare).map(([row]) => row));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (button) sort(button.closest("table"), button.parentNode);
});
