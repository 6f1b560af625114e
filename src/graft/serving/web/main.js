// The page: takes images that are chosen, dropped, pasted, photographed or drawn, and puts a card for each on it.
import { Card } from "./answer.js";
import { Drawing } from "./draw.js";
import { knowsCharacters, showModel } from "./model.js";
import { Refusal, ask, askForKeyWith } from "./service.js";
import { button, byId, count, make, say, sentence } from "./words.js";

const FORM_BYTES = 1024;  // what a form adds to its file, at most
let card = null;
let cards = [];
let drawn = 0;

function tally() {
  const answered = cards.filter((each) => each.answer), unsure = answered.filter((each) => each.answer.unsure);
  const unlike = answered.filter((each) => each.answer.novelty > 1), refused = cards.filter((each) => each.refusal);
  const open = cards.length - answered.length - refused.length;
  const parts = [count(cards.length, "image")];
  if (open) parts.push(`${open} to come`);
  if (unsure.length) parts.push(`${unsure.length} not sure`);
  if (unlike.length) parts.push(`${unlike.length} unlike the training images`);
  if (refused.length) parts.push(`${refused.length} without an answer`);
  byId("answers").hidden = cards.length === 0;
  byId("count").textContent = cards.length > 1 ? parts.join(", ") : "";
  return { open, text: `${parts.join(", ")}.` };
}

function settled(one, batch) {
  const { text } = tally();
  if (batch.length === 1) {
    say(one.summary());
    one.comeIntoView();
  } else if (batch.every((each) => each.answer || each.refusal)) {
    say(`All answered: ${text}`);
  }
}

function give(files) {
  const alone = files.length === 1, batch = [];
  for (const [file, name] of files) {
    batch.push(new Card(file, name, { cardOf, done: (one) => settled(one, batch) }));
  }
  cards = [...batch, ...cards];
  byId("list").prepend(...batch.map((each) => each.element));
  tally();
  say(alone ? `Asking about ${batch[0].name}.` : `Asking about ${count(batch.length, "image")}.`);
  batch[0].comeIntoView();
  for (const each of batch) {
    const most = card?.limits?.body;
    if (most && each.file.size + FORM_BYTES > most) each.refuse(tooLarge(each.file.size, most));
    else each.ask();
  }
}

function tooLarge(size, most) {
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1).replace(/\.0$/, "")} MiB`;
  return new Refusal(413, `this file has ${mib(size)}, and the service takes ${mib(most)}`, "Give a smaller image, or scale it down");
}

const named = (file) => [file, file.name || "pasted image"];

for (const id of ["choose", "photograph"]) byId(id).addEventListener("change", ({ target }) => {
  if (target.files.length) give([...target.files].map(named));
  target.value = "";  // so that the same file can be chosen again
});

addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) give([...event.clipboardData.files].map(named));
});

const over = (is) => document.documentElement.classList.toggle("over", is);
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); over(true); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
addEventListener("drop", (event) => {
  event.preventDefault();
  over(false);
  const files = [...event.dataTransfer.files];
  if (files.length) give(files.map(named));
  else notAFile();
});

function notAFile() {
  const box = make("p", "fault", "That is not a file. Save the image first, or copy it and paste it here.");
  byId("give").append(box);
  say(box.textContent);
  setTimeout(() => box.remove(), 8000);
}

byId("clear").addEventListener("click", () => {
  for (const each of cards) each.forget();
  cards = [];
  tally();
  say("Cleared.");
  byId("choose").focus();
});

const drawing = new Drawing((blob) => give([[new File([blob], `drawing ${(drawn += 1)}.png`, { type: "image/png" }), `drawing ${drawn}.png`]]));

function showDrawing(is) {
  byId("drawing").hidden = !is;
  byId("draw").setAttribute("aria-expanded", String(is));
}
byId("draw").addEventListener("click", () => showDrawing(byId("drawing").hidden));

// One key for all who wait for it.
let asked = null;
askForKeyWith((refusal) => {
  asked ??= new Promise((given) => {
    const form = byId("key"), field = byId("key-field");
    byId("key-fault").textContent = refusal ? sentence(refusal.what) : "";  // the remedy tells programs of a header
    form.hidden = false;
    field.focus();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      form.hidden = true;
      asked = null;
      given(field.value);
      field.value = "";
    }, { once: true });
  });
  return asked;
});

// The card of the model that gave an answer: another one may have been promoted since the page was opened.
let learning = null;
async function cardOf(version) {
  if (card?.version !== version) await (learning ??= learn());
  return card?.version === version ? card : null;
}

async function learn() {
  const drew = card !== null && knowsCharacters(card);
  document.querySelector("header .fault")?.remove();
  try {
    card = await ask("model");
  } catch (refusal) {
    const box = make("p", "fault", `What the model is cannot be shown: ${sentence(refusal.what)} `);
    box.append(button("Try again", "small", () => { learning ??= learn(); }));
    document.querySelector("header").append(box);
    return;
  } finally {
    learning = null;
  }
  showModel(card);
  if (card.limits?.body) byId("limit").textContent = `, up to ${Math.floor(card.limits.body / 2 ** 20)} MiB each`;
  if (knowsCharacters(card) && !drew) {
    drawing.ink = "light";  // as the collections of written characters have it
    showDrawing(true);
  }
}
learning = learn();
