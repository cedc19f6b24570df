"use strict";
const $ = (id) => document.getElementById(id);

// ---- Elements. Texts only ever become text nodes.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// ---- The server. What is said is said again until it is known to be on disk.
async function ask(path, said) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 5000)) {
    let answer;
    try {
      answer = await fetch(path, said && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said) });
    } catch {
      tell(`${said ? "Not saved yet: the" : "The"} server does not answer. Keep this page open, it tries again.`);
      await new Promise((done) => setTimeout(done, wait));
      continue;
    }
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }
}
function tell(problem) { if ($("alert").textContent !== problem) $("alert").textContent = problem; }
