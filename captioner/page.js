"use strict";
// Marks the clip that plays on the time line and in the paragraph; a click or Enter on either plays from there.
(() => {
  const video = document.querySelector("video"), at = document.querySelector("#at");
  const line = document.querySelector("#line");
  const mark = () => {
    const now = video.currentTime;
    at.style.left = `${Math.min(100, (100 * now) / (Number(line.dataset.duration) || 1))}%`;
    for (const part of document.querySelectorAll("[data-start]"))
      part.classList.toggle("now", Number(part.dataset.start) <= now && now < Number(part.dataset.end));
  };
  const play = (event) => {
    const part = event.target.closest("[data-start]");
    if (!part || (event.type === "keydown" && event.key !== "Enter")) return;
    event.preventDefault();
    video.currentTime = Number(part.dataset.start);
    mark();
  };
  document.addEventListener("click", play);
  document.addEventListener("keydown", play);
  for (const type of ["timeupdate", "seeked", "loadedmetadata"]) video.addEventListener(type, mark);
  mark();
})();
