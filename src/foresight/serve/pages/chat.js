// The chat page: no library, no build. Whatever a model says becomes text, never markup.

const at = (id) => document.getElementById(id);
const url = (path) => new URL(path, location.origin);
const turns = [];        // {role, text, pictures, answers: [{model, text, tokens, id}]}
let models = [];
let pictures = [];
let running = null;      // AbortController while an answer comes

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function said(response) {
  if (response.ok) return response.json();
  let told = `${response.status}`;
  try { told = (await response.json()).error.message; } catch { /* no JSON */ }
  throw new Error(told);
}

async function begin() {
  models = (await said(await fetch(url("/v1/models")))).data;
  for (const one of models) {
    at("model").append(element("option", { value: one.id, textContent: one.id }));
    at("other").append(element("option", { value: one.id, textContent: one.id }));
  }
  at("said").focus();
}

function content(turn) {
  if (!turn.pictures?.length) return turn.text;
  const shown = turn.pictures.map((picture) => ({ type: "image_url", image_url: { url: picture } }));
  return [...shown, { type: "text", text: turn.text }];
}

// What is sent: of an earlier turn with two answers, the one of the model that is asked.
function messagesFor(model) {
  const system = at("system").value.trim();
  const told = system ? [{ role: "system", content: system }] : [];
  for (const turn of turns) {
    if (turn.role === "user") {
      told.push({ role: "user", content: content(turn) });
    } else {
      const own = turn.answers.find((one) => one.model === model) ?? turn.answers[0];
      if (own.text) told.push({ role: "assistant", content: own.text });
    }
  }
  return told;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      yield JSON.parse(line.slice(6));
    }
  }
}

async function answer(one, place, signal) {
  const wanted = at("logprobs").checked;
  const body = {
    model: one.model, messages: messagesFor(one.model), stream: true,
    temperature: Number(at("temperature").value), max_tokens: Number(at("longest").value),
    ...(wanted ? { logprobs: true, top_logprobs: 3 } : {}),
  };
  const text = place.querySelector(".text");
  try {
    const response = await fetch(url("/v1/chat/completions"), {
      method: "POST", signal, headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    one.id = response.headers.get("x-request-id");
    if (!response.ok) await said(response);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      const [choice] = event.choices;
      if (!choice) continue;
      const more = choice.delta.content ?? "";
      one.text += more;
      for (const token of choice.logprobs?.content ?? []) { text.append(coloured(token)); }
      if (!wanted && more) text.append(more);
      if (choice.finish_reason === "content_filter") {
        one.end = "Not answered further: the policy of this service ended it.";
      }
      if (choice.finish_reason === "length") one.end = "Cut off at the longest answer.";
    }
  } catch (error) {
    one.end = error.name === "AbortError" ? "Stopped." : error.message;
    one.failed = error.name !== "AbortError";
  }
  if (one.end) {
    const kind = one.failed ? "error" : "faint";
    place.append(element("p", { className: kind, textContent: one.end }));
  }
}

// A token on a ground from red (unlikely) to none (certain), with what else could have stood there.
function coloured(token) {
  const probability = Math.exp(token.logprob);
  const others = token.top_logprobs
    .map((one) => `${JSON.stringify(one.token)} ${(100 * Math.exp(one.logprob)).toFixed(1)} %`);
  const made = element("span", {
    className: "token", textContent: token.token,
    title: `${(100 * probability).toFixed(1)} %\n${others.join("\n")}`,
  });
  made.style.backgroundColor = `rgb(220 60 40 / ${(0.6 * (1 - probability)).toFixed(2)})`;
  return made;
}

function button(text, act) {
  const made = element("button", { type: "button", textContent: text });
  made.addEventListener("click", act);
  return made;
}

function draw() {
  at("turns").replaceChildren(...turns.map(drawn));
}

function drawn(turn, index) {
  if (turn.role === "user") {
    const place = element("section", { className: "turn user" }, element("h2", { textContent: "You" }));
    for (const source of turn.pictures ?? []) {
      place.append(element("img", { className: "sent", src: source, alt: "Picture that was sent" }));
    }
    place.append(element("div", { className: "text", textContent: turn.text }));
    place.append(element("div", { className: "tools" }, button("Edit", () => edit(index))));
    return place;
  }
  const pair = element("div", { className: "pair" });
  for (const one of turn.answers) {
    one.place ??= answered(one, index);
    pair.append(one.place);
  }
  return pair;
}

function answered(one, index) {
  const place = element("section", { className: "turn assistant" },
    element("h2", { textContent: one.model }), element("div", { className: "text" }));
  const tools = element("div", { className: "tools" }, button("Retry", () => retry(index)));
  const why = element("input", { placeholder: "why", ariaLabel: "Why", size: 12 });
  for (const verdict of ["better", "worse", "unsafe"]) {
    tools.append(button(verdict, (event) => tell(one, verdict, why.value, event.target)));
  }
  tools.append(why);
  place.append(tools);
  return place;
}

async function tell(one, verdict, why, pressed) {
  try {
    await said(await fetch(url("/v1/feedback"), {
      method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ request_id: one.id, verdict, why }),
    }));
    pressed.textContent = `${verdict} ✓`;
    at("status").textContent = "Noted, thank you.";
  } catch (error) {
    at("status").textContent = error.message;
  }
}

function edit(index) {
  if (running) return;
  at("said").value = turns[index].text;
  pictures = turns[index].pictures ?? [];
  turns.length = index;
  draw();
  drawPictures();
  at("said").focus();
}

function retry(index) {
  if (running) return;
  turns.length = index;
  draw();
  ask();
}

async function ask() {
  const names = [at("model").value, at("other").value].filter(Boolean);
  const answers = [...new Set(names)].map((model) => ({ model, text: "", id: null }));
  const asked = { role: "assistant", answers };
  running = new AbortController();
  busy(true);
  // What is sent ends with the user's turn: the new one is drawn, not yet among the turns.
  const jobs = [];
  const place = drawn(asked, turns.length);
  at("turns").append(place);
  for (const one of answers) jobs.push(answer(one, one.place, running.signal));
  await Promise.all(jobs);
  turns.push(asked);
  running = null;
  busy(false);
}

function busy(is) {
  at("send").disabled = is;
  at("stop").disabled = !is;
  at("status").textContent = is ? "Answering…" : "";
}

async function send() {
  const text = at("said").value.trim();
  if (running || (!text && !pictures.length)) return;
  turns.push({ role: "user", text, pictures });
  pictures = [];
  at("said").value = "";
  draw();
  drawPictures();
  await ask();
}

// Pictures

// A picture takes a place for each patch: it is made small enough for half of the context.
function side() {
  const model = models.find((one) => one.id === at("model").value);
  return Math.max(1, Math.floor(Math.sqrt(model.context / 2))) * model.patch;
}

async function take(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) continue;
    try {
      const bitmap = await createImageBitmap(file);
      const shrink = Math.min(1, side() / Math.max(bitmap.width, bitmap.height));
      const canvas = element("canvas", {
        width: Math.max(1, Math.round(bitmap.width * shrink)),
        height: Math.max(1, Math.round(bitmap.height * shrink)),
      });
      canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      pictures = [...pictures, canvas.toDataURL("image/png")];
    } catch {
      at("status").textContent = `${file.name}: not a picture that this browser reads`;
    }
  }
  drawPictures();
}

function drawPictures() {
  at("pictures").replaceChildren(...pictures.map((source, index) => {
    const drop = button("Remove", () => { pictures = pictures.filter((_, at) => at !== index); drawPictures(); });
    return element("div", {}, element("img", { className: "sent", src: source, alt: "Picture to send" }), drop);
  }));
}

at("compose").addEventListener("submit", (event) => { event.preventDefault(); send(); });
at("said").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") running?.abort(); });
document.addEventListener("paste", (event) => take(event.clipboardData.files));
at("stop").addEventListener("click", () => running?.abort());
at("clear").addEventListener("click", () => { running?.abort(); turns.length = 0; draw(); at("said").focus(); });
at("attach").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", (event) => { take(event.target.files); });
for (const name of ["dragover", "dragleave", "drop"]) {
  at("compose").addEventListener(name, (event) => {
    event.preventDefault();
    at("compose").classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
begin().catch((error) => { at("status").textContent = error.message; });
