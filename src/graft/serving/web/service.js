// Talks to the service: a few requests at a time, patience with one that is busy, the key where it asks for one.

const MOST_IN_FLIGHT = 3;
const TRIES_WHEN_BUSY = 5;
const LONGEST_WAIT_S = 15;
const PATIENCE_S = 90;
const AGAIN = "Try again; if it goes on, tell whoever runs this service";

// What the service, or the way to it, said no with: `status` is 0 where no answer came.
export class Refusal extends Error {
  constructor(status, what, remedy) {
    super(what);
    Object.assign(this, { status, what, remedy });
  }
  get mayPass() { return this.status === 0 || this.status === 429 || this.status >= 500; }
}

const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function limited(most) {
  let running = 0;
  const waiting = [];
  return async (work) => {
    if (running === most) await new Promise((go) => waiting.push(go));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next(); else running -= 1;
    }
  };
}
const inTurn = limited(MOST_IN_FLIGHT);

let key = "";
let needKey = async () => { throw new Error("nobody to ask for the key"); };

// `asker(refusal)` is called where the service asks for a key, and promises one; null where none was shown to it yet.
export function askForKeyWith(asker) { needKey = asker; }

async function send(path, options) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers, signal: AbortSignal.timeout(PATIENCE_S * 1000) });
  } catch (error) {
    if (error.name === "TimeoutError") throw new Refusal(0, `the service did not answer in ${PATIENCE_S} s`, AGAIN);
    throw new Refusal(0, "the service does not answer", "See whether it still runs, then try again");
  }
}

const WORDS = { 401: "the service asks for an API key", 404: "the service does not know this",
  413: "the upload is larger than the service takes", 429: "the service is busy", 503: "the service is not ready" };

async function refusalOf(response) {
  const said = await response.json().catch(() => ({}));
  const what = said.error || WORDS[response.status] || `the service answered ${response.status}`;
  const refusal = new Refusal(response.status, what, said.remedy);
  if (!refusal.remedy && refusal.mayPass) refusal.remedy = AGAIN;
  return refusal;
}

// The JSON that answers a request. `waits(words)` is told of what keeps it, for people to read.
export async function ask(path, options = {}, waits = () => {}) {
  for (let tries = 1; ; tries += 1) {
    const used = key;
    const response = await send(path, options);
    if (response.ok) {
      return response.json().catch(() => { throw new Refusal(response.status, "the answer cannot be read", AGAIN); });
    }
    const refusal = await refusalOf(response);
    if (refusal.status === 401) {
      waits("Waiting for the key");
      if (used === key) key = await needKey(used ? refusal : null);
    } else if (refusal.status === 429 && tries < TRIES_WHEN_BUSY) {
      const asked = Number.parseInt(response.headers.get("Retry-After") ?? "1", 10);
      const seconds = Math.min(Math.max(asked || 1, 1), LONGEST_WAIT_S);
      waits(`The service is busy. Trying again in ${seconds} s`);
      await sleep(seconds);
    } else {
      throw refusal;
    }
  }
}

// The answer to one image, sent as it is, byte for byte.
export function predict(file, name, waits) {
  const form = new FormData();
  form.append("image", file, name);
  return inTurn(() => {
    waits("Asking");
    return ask("predict", { method: "POST", body: form }, waits);
  });
}

// Say which label is right for the answer called `id`.
export function correct(id, label) {
  const body = JSON.stringify({ id, label });
  return ask("feedback", { method: "POST", body, headers: { "Content-Type": "application/json" } });
}
