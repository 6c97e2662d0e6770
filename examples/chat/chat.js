// The page of the chat: joins a room, shows its lines, and sends what is typed.
"use strict";

const MAX_LINES = 500;

const element = (id) => document.getElementById(id);
let socket;

function show(text) {
  const line = document.createElement("li");
  // As text: a line cannot contain markup.
  line.textContent = text;
  element("lines").append(line);
  while (element("lines").children.length > MAX_LINES) {
    element("lines").firstElementChild.remove();
  }
}

function join() {
  socket?.close(1000);
  const url = new URL("/", location.href.replace(/^http/, "ws"));
  url.searchParams.set("name", element("name").value);
  url.searchParams.set("room", element("room").value);
  const joined = new WebSocket(url);
  socket = joined;
  element("lines").replaceChildren();
  element("state").textContent = "connecting";
  joined.onopen = () => {
    element("state").textContent = `in room ${element("room").value}`;
    element("line").disabled = false;
    element("line").focus();
  };
  joined.onmessage = (event) => show(event.data);
  joined.onclose = (event) => {
    if (socket !== joined) {
      return;
    }
    element("state").textContent = `not connected (${event.code} ${event.reason})`;
    element("line").disabled = true;
  };
}

element("join").onsubmit = (event) => {
  event.preventDefault();
  join();
};

element("speak").onsubmit = (event) => {
  event.preventDefault();
  socket.send(element("line").value);
  element("line").value = "";
};
