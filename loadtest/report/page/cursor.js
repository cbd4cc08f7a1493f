// A reading under the pointer, in every chart of the same axis at once. Without it the page shows everything else.
"use strict";
(() => {
  const figures = [...document.querySelectorAll("figure[data-places]")].map((figure) => ({
    figure,
    plot: figure.querySelector(".plot"),
    cursor: figure.querySelector(".cursor"),
    timed: figure.hasAttribute("data-timed"),
    places: JSON.parse(figure.dataset.places),
    readings: JSON.parse(figure.dataset.readings),
    caption: figure.querySelector("figcaption"),
    when: figure.querySelector(".when output"),
    lines: [...figure.querySelectorAll("li[data-values]")].map((entry) => ({
      output: entry.querySelector("output"),
      unit: entry.dataset.unit,
      values: JSON.parse(entry.dataset.values),
    })),
  }));
  const write = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const digits = Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : String(+value.toPrecision(3));
    return digits + (unit === "" || unit === "%" || unit === "/s" ? "" : " ") + unit;
  };
  const nearest = (places, at) => {
    let best = 0;
    for (let i = 1; i < places.length; i++) if (Math.abs(places[i] - at) < Math.abs(places[best] - at)) best = i;
    return best;
  };
  const show = (each, at) => {
    const index = nearest(each.places, at);
    // The words grow longer, and must not move the chart from under the pointer.
    if (!each.figure.classList.contains("read")) each.caption.style.height = `${each.caption.offsetHeight}px`;
    each.figure.classList.add("read");
    each.cursor.style.left = `${100 * each.places[index]}%`;
    each.when.textContent = each.readings[index];
    for (const line of each.lines) line.output.textContent = write(line.values[index], line.unit);
  };
  const clear = (each) => {
    each.figure.classList.remove("read");
    each.caption.style.height = "";
    for (const output of each.figure.querySelectorAll("output")) output.textContent = "";
  };
  for (const each of figures) {
    const peers = each.timed ? figures.filter((other) => other.timed) : [each];
    const read = (event) => {
      const box = each.plot.getBoundingClientRect();
      const at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      peers.forEach((other) => show(other, at));
    };
    each.plot.addEventListener("pointermove", read);
    each.plot.addEventListener("pointerdown", read);
    each.plot.addEventListener("pointerleave", () => peers.forEach(clear));
  }
})();
