// Elements and numbers as words. Text always goes in as text: class names and file names are somebody else's.

export const byId = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, className, act) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}

export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1%";
  if (value > 99.9 && value < 100) return "> 99.9%";
  return `${value.toFixed(1)}%`;
}

// Of a limit or a target: 80% rather than 80.0%.
export const limit = (share) => `${+(share * 100).toFixed(1)}%`;

export const count = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;

export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// For those who cannot see the page change. A text that is said twice in a row must change to be read twice.
export function say(text) {
  const region = byId("spoken");
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}
