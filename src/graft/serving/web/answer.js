// One image and what the service says of it: bars, doubts, a refusal in words, and the right label where people know it.
import { Refusal, correct, predict } from "./service.js";
import { button, limit, make, percent, say, sentence } from "./words.js";

const FEW = 3;
const SOME = 10;
const TINY_PX = 96;

let made = 0;

export class Card {
  // `cardOf(version)` gives a model's card, null where it is not known. `done(this)` is called when there is an answer
  // or a refusal.
  constructor(file, name, { cardOf, done }) {
    this.file = file;
    this.name = name;
    this.cardOf = cardOf;
    this.model = null;
    this.done = done;
    this.said = make("div", "said");
    this.title = make("h3", "", name);
    this.title.id = `answer-${(made += 1)}`;
    this.title.title = name;
    this.element = make("li", "sheet answer");
    this.element.setAttribute("aria-labelledby", this.title.id);
    this.element.append(this.picture(), this.said);
    this.show(make("p", "waiting", "Waiting for its turn"));
  }

  picture() {
    const picture = make("img");
    picture.alt = "";  // its name stands beside it, and what it shows is the question
    picture.addEventListener("load", () => {
      picture.classList.toggle("tiny", Math.max(picture.naturalWidth, picture.naturalHeight) <= TINY_PX);
    });
    picture.addEventListener("error", () => picture.replaceWith(make("p", "unseen", "This browser cannot show it")));
    this.address = URL.createObjectURL(this.file);
    picture.src = this.address;
    return picture;
  }

  show(...content) {
    this.said.replaceChildren(this.title, ...content);
  }

  async ask() {
    this.element.setAttribute("aria-busy", "true");
    this.answer = this.refusal = null;
    this.show(make("p", "waiting", "Waiting for its turn"));
    try {
      this.answer = await predict(this.file, this.name, (words) => this.show(make("p", "waiting", words)));
      this.model = await this.cardOf(this.answer.model?.version);
      this.showAnswer();
    } catch (error) {
      this.refusal = error instanceof Refusal ? error : new Refusal(0, `the page failed: ${error}`);
      this.showRefusal();
    }
    this.element.removeAttribute("aria-busy");
    this.done(this);
  }

  // Without asking: it is known that the service would.
  refuse(refusal) {
    this.refusal = refusal;
    this.showRefusal();
    this.done(this);
  }

  // On a phone what people give from is all that they see.
  comeIntoView() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.said.scrollIntoView({ block: "nearest", behavior: still ? "instant" : "smooth" });
  }

  forget() {
    URL.revokeObjectURL(this.address);
    this.element.remove();
  }

  // What not to rely on: an answer that the model is not sure of, an image unlike those it was trained on.
  doubts() {
    const { unsure, novelty } = this.answer, found = [], least = this.model?.threshold?.confidence;
    if (unsure) found.push(`Not sure${least ? `: it would have to give at least ${limit(least)}` : ""}.`);
    if (novelty > 1) found.push("Unlike the training images: do not rely on this answer.");
    return found;
  }

  summary() {
    if (this.refusal) return `${this.name}: ${sentence(this.refusal.what)}`;
    const share = this.answer.probabilities[this.answer.label];
    return [`${this.name}: ${this.answer.label}, ${percent(share)}.`, ...this.doubts()].join(" ");
  }

  showAnswer() {
    const { label, probabilities, unsure, id } = this.answer;
    const ranked = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
    const headline = make("p", "label", label);
    headline.append(" ", make("span", "", percent(probabilities[label])));
    this.element.classList.toggle("unsure", unsure);
    const content = [headline];
    const doubts = this.doubts();
    if (doubts.length) {
      content.push(make("ul", "doubts"));
      content.at(-1).append(...doubts.map((text) => make("li", "", text)));
    }
    content.push(...bars(ranked));
    if (id) content.push(new Verdict(id, label, Object.keys(probabilities), this.model?.classes, this.name).element);
    this.show(...content);
  }

  showRefusal() {
    const { what, remedy, mayPass } = this.refusal;
    const box = make("div", "fault", sentence(what));
    if (remedy) box.append(make("span", "", sentence(remedy)));
    if (mayPass) box.append(button("Try again", "small", () => this.ask()));
    this.show(box);
  }
}

// The style shows three of a folded list where there are several cards, and ten where there is one.
function bars(ranked) {
  const list = make("ol", "bars folded");
  list.append(...ranked.slice(0, SOME).map(bar));
  if (ranked.length <= FEW) return [list];
  const all = button(`Show all ${ranked.length}`, ranked.length <= SOME ? "small all some" : "small all", () => {
    const next = list.children[FEW];
    list.append(...ranked.slice(SOME).map(bar));
    list.classList.remove("folded");
    all.remove();
    next.tabIndex = -1;
    next.focus();  // the button that had the focus is gone
  });
  return [list, all];
}

function bar([name, share]) {
  const row = make("li"), track = make("div", "track"), fill = make("div", "fill"), label = make("span", "name", name);
  fill.style.width = `${(share * 100).toFixed(2)}%`;
  track.append(fill);
  label.title = name;
  row.append(label, track, make("span", "value", percent(share)));
  return row;
}

// Whether the answer is right, or what is: sent to the service, which keeps it with the answer.
class Verdict {
  constructor(id, label, ranked, classes, name) {
    Object.assign(this, { id, label, classes: classes ?? ranked });
    this.element = make("div", "right row");
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `Is ${label} right for ${name}?`);
    this.question();
  }

  question() {
    this.element.replaceChildren(
      make("span", "", "Is that right?"),
      button("Yes", "small", () => this.send(this.label)),
      button("No", "small", () => this.choice()),
    );
  }

  choice() {
    const select = make("select", "small");
    select.setAttribute("aria-label", "What it shows");
    const none = new Option("It shows …", "");
    select.append(none, ...this.classes.filter((name) => name !== this.label).map((name) => new Option(name, name)));
    const give = button("Send", "small main", () => this.send(select.value));
    give.disabled = true;
    select.addEventListener("change", () => { give.disabled = select.value === ""; });
    this.element.replaceChildren(select, give, button("Cancel", "small", () => { this.question(); this.focus(); }));
    select.focus();
  }

  focus() { this.element.querySelector("button, select").focus(); }

  async send(label) {
    for (const control of this.element.querySelectorAll("button, select")) control.disabled = true;
    try {
      await correct(this.id, label);
      this.thank(label);
    } catch (refusal) {
      this.regret(refusal);
    }
    this.focus();
  }

  thank(label) {
    const text = `Thank you. Noted: ${label}.`;
    this.element.replaceChildren(make("span", "", text), button("Change", "small", () => this.choice()));
    say(text);
  }

  regret(refusal) {
    const text = [`It could not be noted: ${sentence(refusal.what ?? String(refusal))}`];
    if (refusal.remedy) text.push(sentence(refusal.remedy));
    this.question();
    const box = make("p", "fault", text.join(" "));
    this.element.append(box);
    say(box.textContent);
  }
}
