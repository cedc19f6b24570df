// The reviewers' desk. Texts of users and models become text, never markup.

const at = (id) => document.getElementById(id);
const url = (path) => new URL(path, location.origin);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function ask(path, body) {
  const options = body && {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  };
  const response = await fetch(url(path), options);
  const told = await response.json();
  if (!response.ok) throw new Error(told.error.message);
  return told;
}

const told = (error) => { at("status").textContent = error.message; };

function share(one) {
  if (one.value === null) return one.n ? `[${one.low.toFixed(3)}, ${one.high.toFixed(3)}], n = ${one.n}` : "not known yet";
  return `${one.value.toFixed(3)} [${one.low.toFixed(3)}, ${one.high.toFixed(3)}], n = ${one.n}`;
}

async function standing() {
  const found = await ask("/review/standing");
  const alpha = found.agreement?.alpha.value;
  const rows = [
    ["policy", found.policy], ["exchanges", found.events], ["flagged or blocked", found.flagged],
    ["of these, violations (precision)", share(found.precision)],
    ["of the rest, violations (missed)", share(found.missed)],
    ["of all violations, flagged (recall)", share(found.recall)],
    ["two reviewers agree (Krippendorff's alpha)",
      found.agreement ? `${alpha?.toFixed(3) ?? "all the same"}, n = ${found.agreement.n}` : "not known yet"],
  ];
  at("standing").replaceChildren(...rows.map(([name, value]) => element("tr", {},
    element("th", { scope: "row", textContent: name }), element("td", { textContent: value }))));
  at("suspended").replaceChildren(...found.suspended.map(person));
}

function person(one) {
  const lift = element("button", { type: "button", textContent: "Let ask again" });
  lift.addEventListener("click", () =>
    ask("/review/lift", { subject: one.subject, why: "reviewed" }).then(standing).catch(told));
  return element("p", {}, `${one.subject} is suspended: ${one.why} `, lift);
}

function said(message) {
  const parts = typeof message.content === "string"
    ? [{ type: "text", text: message.content }] : message.content;
  const place = element("div", { className: "turn user" }, element("h2", { textContent: message.role }));
  for (const part of parts) {
    place.append(part.type === "text"
      ? element("div", { className: "text", textContent: part.text })
      : element("img", { className: "sent", src: part.image_url.url, alt: "Picture that was sent" }));
  }
  return place;
}

function shown(one, verdicts) {
  const scores = Object.entries(one.scores).flatMap(([side, found]) =>
    Object.entries(found).map(([name, value]) => `${side} ${name} ${value.toFixed(2)}`));
  const place = element("article", { className: "case", id: `case-${one.id}` },
    element("p", { className: "faint", textContent:
      `${new Date(1000 * one.at).toLocaleString()} · ${one.model} · ${one.subject} · ` +
      `${one.action}${one.category ? ` (${one.category})` : ""} · ${scores.join(", ")}` }),
    ...one.input.map(said),
    ...one.output.map((text) => element("div", { className: "turn" },
      element("h2", { textContent: "answer" }), element("div", { className: "text", textContent: text }))),
    ...one.feedback.map((text) => element("p", { textContent: `Its reader: ${text}` })));
  const better = element("textarea", { rows: 2, ariaLabel: "What should have been answered",
    placeholder: "What should have been answered (becomes a demonstration)" });
  const note = element("input", { ariaLabel: "Note", placeholder: "note" });
  const tools = element("div", { className: "tools" });
  for (const verdict of verdicts) {
    const press = element("button", { type: "button", textContent: verdict });
    press.addEventListener("click", async () => {
      try {
        await ask(`/review/cases/${one.id}`, { verdict, better: better.value, note: note.value });
        place.remove();
        await standing();
        if (!at("cases").children.length) await cases();
        at("cases").querySelector("button")?.focus();
      } catch (error) { told(error); }
    });
    tools.append(press);
  }
  tools.append(note);
  place.append(better, tools);
  return place;
}

async function cases() {
  const found = await ask("/review/cases");
  at("who").textContent = found.reviewer;
  at("cases").replaceChildren(...found.cases.map((one) => shown(one, found.verdicts)));
  at("status").textContent = found.cases.length ? "" : "Nothing waits for a label.";
}

Promise.all([standing(), cases()]).catch(told);
