// Word-level differences, on the words that ROUGE-1 counts (radcap.metrics.rouge1): lower case, digits are
// "number", ASCII punctuation is deleted, all but a-z and 0-9 parts words.

// Runs of what stays within one word; U+212A is the Kelvin sign, whose lower case is k.
const RUNS = /[\p{Nd}A-Za-z!-/:-@[-`{-~\u212A]+/gu;

// [{word, text, lead}, ...] and the tail: each word with its own text and what stands before it.
export function words(caption) {
  const found = [];
  let end = 0;
  for (const match of caption.matchAll(RUNS)) {
    const word = match[0].toLowerCase().replace(/\p{Nd}+/gu, "number").replace(/[^a-z]/g, "");
    if (!word) continue;
    found.push({ word, text: match[0], lead: caption.slice(end, match.index) });
    end = match.index + match[0].length;
  }
  return { found, tail: caption.slice(end) };
}

// Longest common subsequences of all suffixes: table[i * (b.length + 1) + j] for a from i and b from j.
function common(a, b) {
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const place = i * width + j;
      table[place] = a[i].word === b[j].word ? table[place + width + 1] + 1 : Math.max(table[place + width], table[place + 1]);
    }
  }
  return table;
}

// [{kind, lead, text}, ...]: the caption in pieces, kind "same" or "added", with the reference's "missing" ones between.
export function difference(reference, caption) {
  const a = words(reference).found;
  const { found: b, tail } = words(caption);
  const table = common(a, b);
  const pieces = [];
  const add = (kind, { text, lead }) => {
    const last = pieces.at(-1);
    const gap = kind === "missing" || (last?.kind === "missing" && !lead) ? (last ? " " : "") : lead;
    if (last?.kind === kind) last.text += gap + text;
    else pieces.push({ kind, lead: gap, text });
  };
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const place = i * (b.length + 1) + j;
    if (i < a.length && j < b.length && a[i].word === b[j].word) add("same", b[j++], i++);
    else if (j === b.length || (i < a.length && table[place + b.length + 1] >= table[place + 1])) add("missing", a[i++]);
    else add("added", b[j++]);
  }
  if (tail) pieces.push({ kind: "same", lead: "", text: tail });
  return pieces;
}
