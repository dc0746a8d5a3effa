// One example in full: the image, the reference, and every run's caption with its differences, concepts and scores.
import { byId, choices, decimal, el, typing, whole } from "./dom.js";
import { captionOf, conceptsOf, examples, images, modalityOf, nameOf, predictedOf, run, runs, scoreOf } from "./data.js";
import { difference } from "./words.js";

const MARKS = { added: "ins", missing: "del" };

export function picture(example, alt) {
  const [width, height] = examples.sizes[example] ?? [0, 0];
  if (!images[example]) return el("div", { class: "picture none" }, "no image");
  return el("img", { class: "picture", src: images[example], width, height, alt, decoding: "async" });
}

function marked(example, caption) {
  return difference(examples.references[example], caption).flatMap(({ kind, lead, text }) => [
    lead,
    kind === "same" ? text : el(MARKS[kind], {}, text),
  ]);
}

function chips(title, kind, concepts) {
  const names = concepts.map((concept) => el("li", { title: examples.cuis[concept][0] }, nameOf(concept)));
  return el("div", {}, el("dt", {}, title), el("dd", {}, names.length ? el("ul", { class: `chips ${kind}` }, names) : "none"));
}

function concepts(number, example) {
  const { found, missed, invented } = conceptsOf(number, example) ?? {};
  if (!found) return [];
  return [el("dl", { class: "concepts" }, Object.entries({ found, missed, invented }).map(([kind, some]) => chips(kind, kind, some)))];
}

function scores(number, example) {
  const parts = runs[number].metrics.map((metric) => {
    const value = scoreOf(number, example, metric);
    const bar = el("span", { class: "bar" });
    bar.style.setProperty("--share", Number.isNaN(value) ? 0 : Math.max(0, Math.min(value, 1)));
    return el("div", {}, el("dt", {}, metric), el("dd", {}, decimal(value), bar));
  });
  return parts.length ? [el("dl", { class: "scores" }, parts)] : [];
}

export class Example {
  // chosen() -> {items, metric, variant} of the gallery; moved(position) tells it where the reader is
  constructor({ chosen, moved }) {
    Object.assign(this, { chosen, moved, dialog: byId("example"), position: 0 });
    const variants = [...new Set(runs.map(({ variant }) => variant))];
    choices(byId("shown"), [...variants.map((variant) => [variant, variant]), ["", "all"]]);
    byId("view").addEventListener("input", () => this.drawRuns());
    byId("view").addEventListener("submit", (event) => event.preventDefault());
    byId("previous").addEventListener("click", () => this.go(this.position - 1));
    byId("next").addEventListener("click", () => this.go(this.position + 1));
    byId("close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.left());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  open(position) {
    const { metric, variant } = this.chosen();
    byId("shown").value = variant;
    choices(byId("runs-order"), [["", "as listed"], ["score", `by ${metric}, highest first`]]);
    if (!this.dialog.open) this.dialog.showModal();
    this.go(position);
  }

  go(position) {
    const { items } = this.chosen();
    this.position = Math.max(0, Math.min(position, items.length - 1));
    this.example = items[this.position];
    const id = examples.ids[this.example];
    byId("example-id").textContent = id;
    byId("position").textContent = `${whole.format(this.position + 1)} of ${whole.format(items.length)}`;
    byId("previous").disabled = this.position === 0;
    byId("next").disabled = this.position === items.length - 1;
    history.replaceState(null, "", `#${new URLSearchParams({ example: id })}`);
    this.moved(this.position);
    this.drawFacts(id);
    this.drawRuns();
  }

  left() {
    history.replaceState(null, "", "#gallery");
    byId("list").focus();
  }

  drawFacts(id) {
    const predicted = predictedOf(this.example);
    const sure = predicted && decimal(examples.probability[this.example] / examples.scale);
    const facts = [["modality", modalityOf(this.example)], ["classifier", predicted && `${predicted}, ${sure}`]].filter(([, value]) => value);
    const wanted = examples.concepts[this.example];
    byId("facts").replaceChildren(
      picture(this.example, `Image ${id}`),
      el("h3", {}, "Reference"),
      el("p", { class: "text" }, examples.references[this.example]),
      el("dl", { class: "concepts" }, wanted ? [chips("concepts", "wanted", wanted)] : [],
        facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    );
  }

  drawRuns() {
    const { metric } = this.chosen();
    const variant = byId("shown").value;
    const shown = [...runs.keys()].filter((number) => !variant || runs[number].variant === variant);
    const values = new Map(shown.map((number) => [number, scoreOf(number, this.example, metric)]));
    const rank = (number) => (Number.isNaN(values.get(number)) ? -Infinity : values.get(number));
    const best = shown.length > 1 ? Math.max(...shown.map(rank)) : NaN;
    if (byId("runs-order").value) shown.sort((a, b) => rank(b) - rank(a));
    byId("runs").replaceChildren(...shown.map((number) => this.card(number, metric, values.get(number), best)));
  }

  card(number, metric, value, best) {
    const { model, variant } = runs[number];
    const caption = captionOf(number, this.example);
    const text = byId("differences").checked ? marked(this.example, caption) : [caption];
    const tags = [
      value === best && el("span", { class: "tag" }, `highest ${metric}`),
      run(number).cut.has(this.example) && el("span", { class: "tag warn" }, "cut at the token limit"),
      !caption.trim() && el("span", { class: "tag warn" }, "empty caption"),
    ].filter(Boolean);
    return el("article", { class: "run" },
      el("header", {}, el("h3", {}, model, " ", el("small", {}, variant)), tags, el("span", { class: "value" }, decimal(value))),
      el("p", { class: "text" }, text), concepts(number, this.example), scores(number, this.example));
  }

  key(event) {
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowRight: 1, j: 1, ArrowLeft: -1, k: -1 };
    if (event.key in steps) this.go(this.position + steps[event.key]);
    else if (event.key === "d") { byId("differences").checked = !byId("differences").checked; this.drawRuns(); }
    else return;
    event.preventDefault();
  }
}
