// A reading under the pointer, in every chart over time at once. Without it the page shows everything else.
"use strict";
(() => {
  const of = (element) => ({ places: JSON.parse(element.dataset.places), readings: JSON.parse(element.dataset.readings) });
  const shared = of(document.querySelector("main"));
  const figures = [...document.querySelectorAll("figure[data-timed], figure[data-places]")].map((figure) => ({
    figure,
    timed: figure.hasAttribute("data-timed"),
    plot: figure.querySelector(".plot"),
    caption: figure.querySelector("figcaption"),
    lines: [...figure.querySelectorAll("li[data-values]")].map((entry) => [entry.querySelector("output"), JSON.parse(entry.dataset.values), entry.dataset.unit]),
    ...(figure.dataset.places ? of(figure) : shared),
  }));
  const write = (value, unit) => {
    if (value === null || value === undefined) return "–";
    return (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : +value.toPrecision(3)) + (unit ? " " + unit : "");
  };
  const show = (each, at) => {
    const distances = each.places.map((place) => Math.abs(place - at));
    const index = distances.indexOf(Math.min(...distances));
    // The words grow longer, and must not move the chart from under the pointer.
    if (!each.figure.classList.contains("read")) each.caption.style.height = `${each.caption.offsetHeight}px`;
    each.figure.classList.add("read");
    each.figure.querySelector(".cursor").style.left = `${100 * each.places[index]}%`;
    each.figure.querySelector(".when output").textContent = each.readings[index];
    for (const [output, values, unit] of each.lines) output.textContent = write(values[index], unit);
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
      for (const other of peers) show(other, (event.clientX - box.left) / box.width);
    };
    for (const name of ["pointermove", "pointerdown"]) each.plot.addEventListener(name, read);
    each.plot.addEventListener("pointerleave", () => peers.forEach(clear));
  }
})();
