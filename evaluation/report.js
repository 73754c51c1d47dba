"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Charts: the legend shows the values at the pointer, or where the arrow keys stand; else the last ones.
  for (const chart of all("[data-chart]")) {
    const data = JSON.parse(chart.dataset.chart);
    const svg = chart.querySelector("svg"), cursor = chart.querySelector(".cursor");
    const dots = all("circle", cursor), values = all(".key b", chart), at = chart.querySelector(".at");
    const rest = values.map((value) => value.textContent);
    let place = -1;

    const show = (index) => {
      place = Math.max(0, Math.min(index, data.x.length - 1));
      at.textContent = `${data.label} ${data.x[place]}`;
      cursor.setAttribute("visibility", "visible");
      for (const end of ["x1", "x2"]) cursor.querySelector("line").setAttribute(end, data.at[place]);
      dots.forEach((dot, i) => {
        const y = data.dot[i][place];
        dot.setAttribute("display", y === null ? "none" : "inline");
        dot.setAttribute("cx", data.at[place]);
        if (y !== null) dot.setAttribute("cy", y);
        values[i].textContent = data.y[i][place] ?? "–";
      });
    };
    const leave = () => {
      place = -1;
      at.textContent = "last";
      cursor.setAttribute("visibility", "hidden");
      values.forEach((value, i) => { value.textContent = rest[i]; });
    };
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const far = data.at.map((pixel) => Math.abs(pixel - x));
      show(far.indexOf(Math.min(...far)));
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const last = data.x.length - 1;
      const targets = { ArrowLeft: place < 0 ? last : place - 1, ArrowRight: place + 1, Home: 0, End: last };
      if (event.key === "Escape") leave();
      if (!(event.key in targets)) return;
      event.preventDefault();
      show(targets[event.key]);
    });
  }

  // Scatter plots: what the mark nearest to the pointer or finger is, and which one belongs to it.
  for (const plot of all(".scatter")) {
    const svg = plot.querySelector(":scope > svg"), at = plot.querySelector(".at");
    const marks = svg ? all(".mark", svg) : [];
    let places, picked = [];
    const pick = (event) => {
      const middle = ({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 });
      places ??= marks.map((mark) => middle(mark.getBBox()));
      const from = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const far = places.map(({ x, y }) => Math.hypot(x - from.x, y - from.y));
      const nearest = marks[far.indexOf(Math.min(...far))];
      for (const mark of picked) mark.classList.remove("picked");
      picked = [nearest, ...(nearest.dataset.pair ? [marks[nearest.dataset.pair]] : [])];
      for (const mark of picked) mark.classList.add("picked");
      at.textContent = nearest.textContent;
    };
    if (!svg) continue;
    svg.addEventListener("pointermove", pick);
    svg.addEventListener("pointerdown", pick);
  }

  // Videos: search, order, filter, and whose sentences are shown.
  const samples = byId("samples");
  if (!samples) return;
  const cards = all(".sample", samples), search = byId("search"), fold = byId("fold");
  const order = byId("order"), pick = byId("pick"), boxes = all("#whose input");
  const total = `${cards.length} video${cards.length === 1 ? "" : "s"}`;

  const texts = (card) => [card.querySelector("h3"), ...all(".said:not([hidden]) .text", card)];
  const highlight = (words) => {
    if (!window.Highlight) return;
    const ranges = [];
    for (const element of words.length ? cards.filter((card) => !card.hidden).flatMap(texts) : []) {
      const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const node = walker.currentNode, text = node.data.toLowerCase();
        for (const word of words) {
          for (let i = text.indexOf(word); i >= 0; i = text.indexOf(word, i + word.length)) {
            if (i + word.length > node.length) break;
            ranges.push(new StaticRange({ startContainer: node, startOffset: i, endContainer: node, endOffset: i + word.length }));
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) {
      const text = texts(card).map((element) => element.textContent).join(" ").toLowerCase();
      const picked = !pick || !pick.value || card.dataset.picks.split(" ").includes(pick.value);
      card.hidden = !picked || !words.every((word) => text.includes(word));
      if (words.length && !card.hidden) card.querySelector("details").open = true;
    }
    const shown = cards.filter((card) => !card.hidden).length;
    byId("count").textContent = shown === cards.length ? total : `${shown} of ${total}`;
    label();
    highlight(words);
  };
  const sort = () => {
    const sign = { best: -1, worst: 1 }[order.value];
    const key = (card) => card.dataset.score === "" ? Infinity : sign * Number(card.dataset.score);
    const position = (card) => Number(card.dataset.position);
    const less = (a, b) => (sign && key(a) !== key(b) ? (key(a) < key(b) ? -1 : 1) : position(a) - position(b));
    samples.append(...[...cards].sort(less));
  };
  const toggle = () => {
    const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    for (const said of all(".said", samples)) said.hidden = hidden.has(said.dataset.system);
    filter();
  };
  const folds = () => cards.filter((card) => !card.hidden).map((card) => card.querySelector("details"));
  const label = () => { fold.textContent = folds().every((one) => one.open) ? "Close all" : "Open all"; };

  search.addEventListener("input", filter);
  if (pick) pick.addEventListener("change", filter);
  if (order) order.addEventListener("change", sort);
  for (const box of boxes) box.addEventListener("change", toggle);
  fold.addEventListener("click", () => {
    const open = fold.textContent === "Open all";
    for (const one of folds()) one.open = open;
    label();
  });
  samples.addEventListener("toggle", label, true);
  byId("toolbar").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    search.focus();
  });
  byId("toolbar").hidden = false;
  toggle();
})();
