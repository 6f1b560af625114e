// What the model is, how good it was, and what it is and is not for: the card of `GET /model` in words.
import { byId, count, limit, make, percent } from "./words.js";

const STARTED = { none: "random weights", source: "glyphs, pretrained here", bundled: "ImageNet (installed with graft)" };
const MOST_NAMES = 60;
const FEW = 4;

function fact(name, value, note, wide) {
  const box = make("div", wide ? "wide" : ""), text = make("dd", "", value);
  if (note) text.append(" ", make("small", "", note));
  box.append(make("dt", "", name), text);
  return box;
}

function facts(card) {
  const { metrics = {}, threshold, trained_on: seen } = card;
  const found = [
    fact("Name", `${card.name}:${card.version}`),
    fact("Network", card.arch.replace(/^timm:/, ""), `at ${card.size} × ${card.size} px`),
    fact("Training started from", STARTED[card.trained_from] ?? card.trained_from),
  ];
  if (seen?.images) found.push(fact("Trained on", count(seen.images, "image")));
  if (typeof metrics.accuracy === "number") {
    const interval = metrics.accuracy_ci95;
    found.push(fact(`Accuracy on ${metrics.n_test ?? "the"} test images`, percent(metrics.accuracy),
      Array.isArray(interval) ? `95% interval ${percent(interval[0])} to ${percent(interval[1])}` : ""));
  }
  if (threshold) found.push(fact("Says “not sure”", `under ${limit(threshold.confidence)}`));
  const names = card.classes.slice(0, MOST_NAMES).join(", ") + (card.classes.length > MOST_NAMES ? ", …" : "");
  return [...found, fact(`Its ${card.classes.length} classes`, names, "", true)];
}

function uses(card) {
  const { threshold, metrics = {} } = card;
  const good = [`Telling its ${card.classes.length} classes apart, in images made as those it was trained on.`];
  if (typeof metrics.accuracy === "number") {
    good.push(`It named ${percent(metrics.accuracy)} of its test images rightly, which its training never saw.`);
  }
  if (threshold?.target) {
    good.push(`Sorting out what somebody should look at: the limit for “not sure” was set so that ${limit(threshold.target)} of the answers above it are right.`);
  }
  return good;
}

function misuses(card) {
  const shown = card.novelty
    ? "Many such images, not all, are marked as unlike the training images."
    : "It cannot tell such images from those it knows.";
  return [
    `Anything that is none of its classes: it gets the one that it looks most like. ${shown}`,
    "Images of another kind than its training's (another camera, light or place), until it was measured on some.",
    "Decisions about people or safety that nobody looks at again.",
  ];
}

export function showModel(card) {
  const items = (texts) => texts.map((text) => make("li", "", text));
  byId("facts").replaceChildren(...facts(card));
  byId("for").replaceChildren(...items(uses(card)));
  byId("not-for").replaceChildren(...items(misuses(card)));
  byId("model").hidden = false;
  const few = card.classes.length <= FEW;
  const what = few ? `${card.classes.slice(0, -1).join(", ")} and ${card.classes.at(-1)}` : `${card.classes.length} classes`;
  byId("intro").textContent = `This model tells ${what} apart. Images go to this server, are classified, and are ${card.keeps_images ? "kept" : "not kept"}.`;
}

// Whether it knows written characters, so that drawing is what people will want to do.
export const knowsCharacters = (card) => card.classes.every((name) => [...name].length === 1);
