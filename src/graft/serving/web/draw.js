// A small canvas to draw on, by pointer or by keys, and the drawing as a PNG, cropped to what was drawn.
import { byId } from "./words.js";

const SENT_PX = 256;
const PEN = 1 / 11;  // of the canvas' side; a crop makes it wider, as in pictures of written characters
const MARGIN = 0.05;  // of the crop's side
const LEAST = 0.3;  // of the canvas' side: a dot stays a dot
const STEP = 1 / 28;
const COLOURS = { dark: ["#000000", "#ffffff"], light: ["#ffffff", "#000000"] };

export class Drawing {
  // `submit(blob)` is given the PNG; the canvas is empty after that.
  constructor(submit) {
    this.canvas = byId("canvas");
    this.side = this.canvas.width;
    this.strokes = [];
    this.pen = { at: [this.side / 2, this.side / 2], down: false, shown: false };
    this.submit = submit;
    this.listen();
    this.paint();
  }

  get ink() { return document.querySelector("input[name=ink]:checked").value; }
  set ink(value) {
    document.querySelector(`input[name=ink][value=${value}]`).checked = true;
    this.paint();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.pointer !== undefined) return;
      this.pointer = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      this.liftPen(false);
      this.strokes.push([this.place(event)]);
      this.paint();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      this.strokes.at(-1).push(...(events.length ? events : [event]).map((each) => this.place(each)));
      this.paint();
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => {
      if (event.pointerId === this.pointer) this.pointer = undefined;
    });
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("blur", () => this.liftPen(false));
    byId("undo").addEventListener("click", () => { this.strokes.pop(); this.paint(); this.keepFocus(); });
    byId("wipe").addEventListener("click", () => this.wipe());
    byId("classify").addEventListener("click", () => this.send());
    for (const choice of document.getElementsByName("ink")) choice.addEventListener("change", () => this.paint());
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.side, ((event.clientY - box.top) / box.height) * this.side];
  }

  onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { pen } = this;
    if (move) {
      pen.at = pen.at.map((value, axis) => Math.min(Math.max(value + move[axis] * STEP * this.side, 0), this.side));
      if (pen.down) this.strokes.at(-1).push(pen.at);
      pen.shown = true;
    } else if (event.key === " ") {
      pen.down = !pen.down;
      pen.shown = true;
      if (pen.down) this.strokes.push([pen.at]);
    } else if (event.key === "Enter" && this.strokes.length) {
      this.send();
    } else {
      return;  // Tab above all: nobody is kept here
    }
    event.preventDefault();
    this.paint();
  }

  liftPen(shown) {
    Object.assign(this.pen, { down: false, shown });
    this.paint();
  }

  wipe() {
    this.strokes = [];
    this.pen.down = false;
    this.paint();
    this.keepFocus();
  }

  // A button that has just been switched off would take the focus with it.
  keepFocus() {
    if (!this.strokes.length) this.canvas.focus();
  }

  paint() {
    const context = this.canvas.getContext("2d");
    this.trace(context, this.side * PEN);
    if (this.pen.shown) this.paintPen(context);
    for (const id of ["classify", "undo", "wipe"]) byId(id).disabled = this.strokes.length === 0;
  }

  trace(context, width) {
    const [ink, ground] = COLOURS[this.ink];
    context.fillStyle = ground;
    context.fillRect(0, 0, this.side, this.side);
    Object.assign(context, { strokeStyle: ink, lineWidth: width, lineCap: "round", lineJoin: "round" });
    for (const [first, ...rest] of this.strokes) {
      context.beginPath();
      context.moveTo(...first);
      for (const point of rest.length ? rest : [first]) context.lineTo(...point);
      context.stroke();
    }
  }

  paintPen(context) {
    context.beginPath();
    context.arc(...this.pen.at, this.side * PEN * 0.5, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: "#2f9d62", fillStyle: "#2f9d62", lineWidth: 4 });
    if (this.pen.down) context.fill(); else context.stroke();
  }

  // The square around what was drawn: corner and side.
  crop() {
    const points = this.strokes.flat(), half = (this.side * PEN) / 2;
    const range = [0, 1].map((axis) => {
      const values = points.map((point) => point[axis]);
      return [Math.min(...values) - half, Math.max(...values) + half];
    });
    const side = Math.max(...range.map(([low, high]) => high - low), LEAST * this.side) * (1 + 2 * MARGIN);
    return { corner: range.map(([low, high]) => (low + high - side) / 2), side };
  }

  // Drawn again at the size that is sent, so that neither screen nor window changes a pixel of it.
  png() {
    const { corner, side } = this.crop(), sheet = document.createElement("canvas");
    sheet.width = sheet.height = SENT_PX;
    const context = sheet.getContext("2d");
    context.fillStyle = COLOURS[this.ink][1];
    context.fillRect(0, 0, SENT_PX, SENT_PX);
    context.scale(SENT_PX / side, SENT_PX / side);
    context.translate(-corner[0], -corner[1]);
    this.trace(context, this.side * PEN);
    return new Promise((done) => sheet.toBlob(done, "image/png"));
  }

  async send() {
    const blob = await this.png();
    this.wipe();
    this.submit(blob);
  }
}
