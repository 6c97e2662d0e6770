// The page's part of the example `console`: evaluates what the operator sends, and reports values,
// errors, and what the page logs.
"use strict";

(() => {
  // In UTF-16 code units: at most 48 KB of UTF-8, below the limit of the server.
  const LONGEST = 16_000;

  const token = location.hash.slice(1);
  const socket = new WebSocket(`ws://${location.host}/console`, ["console", `token.${token}`]);
  const state = document.getElementById("state");

  function show(text) {
    if (state) state.textContent = text;
  }

  function send(text) {
    const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} characters)` : text;
    if (socket.readyState === WebSocket.OPEN) socket.send(cut);
  }

  function describe(value) {
    if (value instanceof Error || typeof value === "function") return String(value);
    if (value instanceof Element) return value.outerHTML;
    try {
      return JSON.stringify(value) ?? String(value);
    } catch {
      // A cycle, or a BigInt.
      return String(value);
    }
  }

  const AsyncFunction = (async () => {}).constructor;

  // An expression may use await; statements are run as they are.
  function evaluate(code) {
    let expression;
    try {
      expression = new AsyncFunction(`return (${code}\n);`);
    } catch {
      return (0, eval)(code);
    }
    return expression();
  }

  socket.addEventListener("open", () => show("attached"));
  socket.addEventListener("close", ({ code, reason }) => show(`not attached: ${code} ${reason}`));
  socket.addEventListener("message", async ({ data }) => {
    const space = data.indexOf(" ");
    const number = data.slice(0, space);
    try {
      send(`${number} = ${describe(await evaluate(data.slice(space + 1)))}`);
    } catch (error) {
      send(`${number} ! ${error}`);
    }
  });

  for (const name of ["log", "warn", "error"]) {
    const original = console[name].bind(console);
    console[name] = (...values) => {
      original(...values);
      send(`- ${name}: ${values.map((value) => (typeof value === "string" ? value : describe(value))).join(" ")}`);
    };
  }
  addEventListener("error", ({ message }) => send(`- error: ${message}`));
})();
