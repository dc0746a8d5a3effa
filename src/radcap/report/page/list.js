// A list of any length as a listbox: only the rows in sight exist, and are used again as it scrolls.
import { el } from "./dom.js";

const SPARE = 4;

export class List {
  // make() -> a row's element; fill(row, item); open(position)
  constructor(box, { make, fill, open }) {
    Object.assign(this, { box, make, fill, open, items: [], rows: [], active: 0 });
    this.inner = el("div", { class: "rows", role: "presentation" });
    box.append(this.inner);
    box.addEventListener("scroll", () => this.later(), { passive: true });
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.resize()).observe(box);
  }

  show(items) {
    this.items = items;
    this.active = 0;
    this.box.scrollTop = 0;
    this.box.classList.toggle("empty", !items.length);
    this.resize();
  }

  resize() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--row"));
    this.inner.style.height = `${this.items.length * this.height}px`;
    const wanted = Math.min(Math.ceil(this.box.clientHeight / this.height) + 2 * SPARE, this.items.length);
    while (this.rows.length < wanted) {
      const row = this.make();
      row.id = `row-${this.rows.length}`;
      this.rows.push(row);
      this.inner.append(row);
    }
    this.rows.splice(wanted).forEach((row) => row.remove());
    this.rows.forEach((row) => (row.position = -1));
    this.draw();
  }

  later() {
    this.waiting ??= requestAnimationFrame(() => { this.waiting = undefined; this.draw(); });
  }

  // Position p is always shown by row p % rows, so that scrolling by one fills one.
  draw() {
    const size = this.rows.length;
    const first = Math.max(0, Math.min(Math.floor(this.box.scrollTop / this.height) - SPARE, this.items.length - size));
    for (let position = first; position < first + size; position++) {
      const row = this.rows[position % size];
      row.setAttribute("aria-selected", position === this.active);
      if (row.position === position) continue;
      row.position = position;
      row.style.transform = `translateY(${position * this.height}px)`;
      row.setAttribute("aria-posinset", position + 1);
      row.setAttribute("aria-setsize", this.items.length);
      this.fill(row, this.items[position]);
    }
    const active = size ? this.rows[this.active % size] : undefined;
    if (active?.position === this.active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
  }

  go(position) {
    if (!this.items.length) return;
    this.active = Math.max(0, Math.min(position, this.items.length - 1));
    const top = this.active * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else this.box.scrollTop = Math.max(this.box.scrollTop, top + this.height - this.box.clientHeight);
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.go(this.active + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.items.length) this.open(this.active);
    else return;
    event.preventDefault();
  }

  click(event) {
    const row = event.target.closest("[role=option]");
    if (!row) return;
    this.go(row.position);
    this.open(row.position);
  }
}
