// Elements from plain data. Text becomes text nodes and attributes, never markup.

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat());
  return node;
}

// [[value, label, disabled?], ...] as a select's options; keeps what was chosen where it still is there.
export function choices(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(([value, label, disabled]) => el("option", { value, disabled: !!disabled }, label)));
  if (options.some(([value, , disabled]) => value === before && !disabled)) select.value = before;
  select.disabled = options.length < 2;
}

export const whole = new Intl.NumberFormat("en");
export const decimal = (value) => (Number.isNaN(value) ? "n/a" : value.toFixed(3));
export const typing = (target) => /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) && target.type !== "checkbox";
