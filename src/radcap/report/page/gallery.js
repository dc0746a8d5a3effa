// The gallery: which examples the filters leave, in which order, and the list that shows them.
import { byId, choices, decimal, el, typing, whole } from "./dom.js";
import { captionOf, conceptsOf, count, examples, images, modalityOf, run, runs, scoreOf, warm } from "./data.js";
import { List } from "./list.js";
import { Example } from "./example.js";

const CONCEPTS = {
  missed: ["some missed", ({ missed }) => missed.length > 0],
  invented: ["some invented", ({ invented }) => invented.length > 0],
  exact: ["all found, none invented", ({ missed, invented }) => !missed.length && !invented.length],
};
const ORDERS = [["", "as in the split"], ["down", "highest score first"], ["up", "lowest score first"]];
const field = (id) => byId(id).value;
const bound = (id, otherwise) => (field(id) === "" ? otherwise : Number(field(id)));
// What the controls say: {run: a number or -1, variant, metric, items}.
let state = { run: -1, variant: "", metric: "", items: [] };

function offer() {
  const labels = examples.modality.texts.filter(Boolean).sort();
  const counts = new Map(labels.map((label) => [label, 0]));
  for (let example = 0; example < count; example++) {
    const label = modalityOf(example);
    if (label) counts.set(label, counts.get(label) + 1);
  }
  choices(byId("modality"), [["", "all"], ...labels.map((label) => [label, `${label} (${whole.format(counts.get(label))})`])]);
  choices(byId("model"), [...new Set(runs.map(({ model }) => model))].map((model) => [model, model]));
  choices(byId("order"), ORDERS);
  const looked = examples.concepts.length ? Object.entries(CONCEPTS).map(([name, [label]]) => [name, label]) : [];
  choices(byId("concepts"), [["", "any"], ...looked]);
}

// Variants and metrics are those of the chosen model.
function chooseRun() {
  const own = runs.filter(({ model }) => model === field("model"));
  choices(byId("variant"), own.map(({ variant }) => [variant, variant]));
  const run = runs.findIndex(({ model, variant }) => model === field("model") && variant === field("variant"));
  choices(byId("metric"), (runs[run]?.metrics ?? []).map((metric) => [metric, metric]));
  state = { ...state, run, variant: field("variant"), metric: field("metric") };
}

function matching() {
  const terms = field("search").toLowerCase().split(/\s+/).filter(Boolean);
  const [low, high] = [bound("low", -Infinity), bound("high", Infinity)];
  const isBounded = low > -Infinity || high < Infinity;
  const holds = CONCEPTS[field("concepts")]?.[1];
  const modality = field("modality");
  const found = [];
  for (let example = 0; example < count; example++) {
    if (modality && modalityOf(example) !== modality) continue;
    if (isBounded) {
      const score = scoreOf(state.run, example, state.metric);
      if (!(score >= low && score <= high)) continue;
    }
    if (holds) {
      const concepts = conceptsOf(state.run, example);
      if (!concepts || !holds(concepts)) continue;
    }
    if (terms.length) {
      const text = `${examples.ids[example]} ${examples.references[example]} ${captionOf(state.run, example)}`.toLowerCase();
      if (!terms.every((term) => text.includes(term))) continue;
    }
    found.push(example);
  }
  return found;
}

function ordered(items) {
  if (!field("order")) return items;
  const sign = field("order") === "down" ? -1 : 1;
  const keys = run(state.run).scores[state.metric] ?? [];
  const missing = (example) => Number.isNaN(keys[example] ?? NaN);
  return items.sort((a, b) => missing(a) - missing(b) || sign * (keys[a] - keys[b]) || a - b);
}

function tell(items) {
  const scores = items.map((example) => scoreOf(state.run, example, state.metric)).filter((score) => !Number.isNaN(score));
  const mean = scores.length ? scores.reduce((sum, score) => sum + score, 0) / scores.length : NaN;
  const told = scores.length ? `, mean ${state.metric} ${decimal(mean)}` : "";
  byId("count").value = `${whole.format(items.length)} of ${whole.format(count)} examples${told}`;
}

function update() {
  chooseRun();
  state.items = ordered(matching());
  tell(state.items);
  list.show(state.items);
}

function makeRow() {
  return el("div", { class: "row", role: "option" },
    el("div", { class: "thumb" }), el("div", { class: "words" }, el("p", { class: "meta" }), el("p", { class: "text reference" }), el("p", { class: "text" })),
    el("p", { class: "value" }));
}

function fillRow(row, example) {
  const [thumb, texts, value] = row.children;
  const [meta, reference, caption] = texts.children;
  thumb.replaceChildren(images[example] ? el("img", { src: images[example], alt: "", decoding: "async" }) : "no image");
  meta.replaceChildren(el("b", {}, examples.ids[example]), " ", modalityOf(example));
  reference.textContent = examples.references[example];
  caption.textContent = captionOf(state.run, example);
  const score = scoreOf(state.run, example, state.metric);
  value.textContent = decimal(score);
  value.style.setProperty("--share", Number.isNaN(score) ? 0 : Math.max(0, Math.min(score, 1)));
}

const list = new List(byId("list"), { make: makeRow, fill: fillRow, open: (position) => detail.open(position) });
const detail = new Example({ chosen: () => state, moved: (position) => list.go(position) });

function openLinked() {
  const id = new URLSearchParams(location.hash.slice(1)).get("example");
  const position = state.items.indexOf(examples.ids.indexOf(id));
  if (position >= 0) detail.open(position);
}

byId("filters").addEventListener("input", update);
byId("filters").addEventListener("submit", (event) => { event.preventDefault(); byId("list").focus(); });
// The fields are empty only after the event.
byId("filters").addEventListener("reset", () => setTimeout(update));
byId("search").addEventListener("keydown", (event) => { if (event.key === "Escape") byId("list").focus(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || typing(event.target) || byId("example").open) return;
  byId("search").focus();
  event.preventDefault();
});
window.addEventListener("hashchange", openLinked);

offer();
update();
openLinked();
// For whoever measures: when it answers, and when all runs are parsed.
performance.mark("ready");
warm(0, () => performance.mark("warm"));
