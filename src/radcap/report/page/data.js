// The page's own data. A run's captions and scores are parsed when first asked for, or while the browser is idle.
import { byId } from "./dom.js";

function take(id) {
  const node = byId(id);
  const value = JSON.parse(node.textContent);
  node.remove();
  return value;
}

export const examples = take("examples");
export const images = take("images");
export const count = examples.ids.length;
export const runs = examples.runs;
// By number; -1 is where no model has captions.
const parsed = { "-1": { texts: [], at: [], cut: new Set(), scores: {}, concepts: null } };

// {texts, at, cut, scores: {metric: numbers, NaN where missing}, concepts} of a run by its number.
export function run(number) {
  if (!parsed[number]) {
    const value = take(`run-${number}`);
    value.cut = new Set(value.cut);
    for (const [metric, column] of Object.entries(value.scores)) {
      // In 64 bits: a bound of 0.4 is the score 0.4.
      value.scores[metric] = Float64Array.from(column, (score) => (score === null ? NaN : score / examples.scale));
    }
    parsed[number] = value;
  }
  return parsed[number];
}

export const captionOf = (number, example) => run(number).texts[run(number).at[example]] ?? "";
export const scoreOf = (number, example, metric) => run(number).scores[metric]?.[example] ?? NaN;
export const modalityOf = (example) => examples.modality.texts[examples.modality.at[example]] ?? "";
export const predictedOf = (example) => examples.predicted.texts[examples.predicted.at[example]] ?? "";
export const nameOf = (concept) => examples.cuis[concept][1] || examples.cuis[concept][0];

// {found, missed, invented}: numbers of concepts; null where they were not looked for.
export function conceptsOf(number, example) {
  const made = run(number).concepts?.[example];
  const wanted = examples.concepts[example];
  if (!made || !wanted) return null;
  return {
    found: wanted.filter((concept) => made.includes(concept)),
    missed: wanted.filter((concept) => !made.includes(concept)),
    invented: made.filter((concept) => !wanted.includes(concept)),
  };
}

const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 30));
// A run at a time, so that a key or a click never waits for more than one.
export function warm(number = 0, done = () => {}) {
  if (number === runs.length) done();
  else idle(() => { run(number); warm(number + 1, done); });
}
