"use strict";
// Sends a dropped or chosen video, and shows its clips and sentences as the server writes them, a JSON object a line.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const video = $("video"), line = $("#line"), text = $("#text"), status = $("#status"), shown = $("#shown");
  const drop = $("#drop"), input = $("#file"), links = $("#downloads");
  const most = Number(drop.dataset.most);
  let running = null, players = null, name = "";
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
  const say = (message, isError) => { status.textContent = message; status.classList.toggle("warning", Boolean(isError)); };

  const fail = (message) => { say(message, true); shown.hidden = true; video.removeAttribute("src"); video.load(); };

  const clip = (segment, i, duration) => {
    const [start, end] = segment, button = document.createElement("button"), number = document.createElement("span");
    Object.assign(button, { type: "button", className: "waiting" });
    number.textContent = i + 1;
    button.append(number);
    button.setAttribute("aria-label", `clip ${i + 1}, ${clock(start)} to ${clock(end)}`);
    Object.assign(button.dataset, { start, end });
    button.style.left = `${(100 * start) / duration}%`;
    button.style.width = `${(100 * (end - start)) / duration}%`;
    line.insertBefore(button, $("#at"));
  };
  const sentence = (said, i) => {
    const span = document.createElement("span");
    Object.assign(span, { className: "said", tabIndex: 0, textContent: said.text });
    Object.assign(span.dataset, { start: said.start, end: said.end });
    text.append(span, " ");
    line.querySelectorAll("button")[i]?.classList.remove("waiting");
  };
  const download = (id) => {
    links.append("Download: ");
    for (const kind of ["txt", "srt", "vtt", "json"]) {
      const link = document.createElement("a");
      Object.assign(link, { href: `videos/${id}.${kind}`, download: "", textContent: kind });
      links.append(link, " ");
    }
  };
  const handlers = {
    progress: (event) => say(`watching ${name}: ${clock(event.time)}${event.duration ? " of " + clock(event.duration) : ""}`),
    segments: (event) => {
      line.dataset.duration = event.duration;
      $("#ends").lastElementChild.textContent = clock(event.duration);
      event.segments.forEach((segment, i) => clip(segment, i, event.duration));
      say(`writing ${event.segments.length} sentences about ${name}`);
    },
    sentence: (event) => sentence(event, text.children.length),
    done: (event) => { say([name, ...event.warnings].join(": "), event.warnings.length > 0); download(event.id); },
    error: (event) => fail(event.message),
  };
  const read = async (response) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const each of lines) { const event = JSON.parse(each); handlers[event.event](event); }
      if (done) return;
    }
  };
  const show = (file) => {
    if (players) URL.revokeObjectURL(players);
    video.src = players = URL.createObjectURL(file);
    name = file.name;
    shown.hidden = false;
    for (const old of line.querySelectorAll("button")) old.remove();
    text.replaceChildren();
    links.replaceChildren();
  };
  const send = async (file) => {
    if (file.size > most) return say(`${file.name} has ${Math.ceil(file.size / 1e6)} MB, at most ${most / 1e6} are taken`, true);
    running?.abort();
    running = new AbortController();
    show(file);
    say(`sending ${name}`);
    try {
      const options = { method: "POST", body: file, headers: { "X-Cootmart": "1" }, signal: running.signal };
      const response = await fetch(`videos?name=${encodeURIComponent(file.name)}`, options);
      if (response.ok) await read(response);
      else fail(await response.text());
    } catch (error) {
      if (error.name !== "AbortError") fail(`the server does not answer (${error.message})`);
    }
  };
  input.addEventListener("change", () => { if (input.files.length) send(input.files[0]); input.value = ""; });
  for (const type of ["dragover", "dragenter", "dragleave", "drop"])
    document.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", type === "dragover" || type === "dragenter");
      if (type === "drop" && event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
    });
})();
