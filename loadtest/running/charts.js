// Our charts under Locust's own page: latency, connections and rates, one point a second. No library, no network.
(() => {
  const places = [
    ["Latency, ms", [["p50_ms", "#4c78a8"], ["p99_ms", "#e45756"], ["raw_p99_ms", "#f2a49a"]]],
    ["Connected", [["connected", "#54a24b"], ["users", "#b5b5b5"]]],
    ["Per second", [["sent_per_second", "#4c78a8"], ["received_per_second", "#f58518"]]],
  ];
  const width = 420, height = 150, left = 48, bottom = 22;

  const make = (name, attributes, parent) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  };

  const words = (text, x, y, anchor, parent) => {
    make("text", { x, y, "text-anchor": anchor, "font-size": 11, fill: "currentColor" }, parent).textContent = text;
  };

  const draw = (svg, lines, series) => {
    svg.replaceChildren();
    const most = Math.max(1e-9, ...series.flatMap((row) => lines.map(([key]) => row[key] ?? 0)));
    const first = series[0].at_s, last = Math.max(series.at(-1).at_s, first + 1);
    const x = (at) => left + ((at - first) / (last - first)) * (width - left - 8);
    const y = (value) => 8 + (1 - value / most) * (height - bottom - 8);
    for (const share of [0, 0.5, 1]) {
      make("line", { x1: left, x2: width - 8, y1: y(most * share), y2: y(most * share), stroke: "currentColor", "stroke-opacity": 0.15 }, svg);
      words((most * share).toLocaleString("en", { maximumSignificantDigits: 3 }), left - 6, y(most * share) + 4, "end", svg);
    }
    words(`${first.toFixed(0)} s`, left, height - 6, "start", svg);
    words(`${last.toFixed(0)} s`, width - 8, height - 6, "end", svg);
    for (const [key, colour] of lines) {
      const points = series.filter((row) => row[key] != null).map((row) => `${x(row.at_s)},${y(row[key])}`);
      make("polyline", { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 1.5 }, svg);
    }
  };

  // Locust's program fills the window, so ours sticks to its lower edge, and folds away.
  const panel = document.createElement("details");
  panel.id = "varde";
  panel.open = true;
  panel.style.cssText =
    "position:sticky;bottom:0;z-index:1;padding:8px 24px;font:13px system-ui,sans-serif;" +
    "color:light-dark(#444,#ccc);background:light-dark(#fff,#222);border-top:1px solid #8886;color-scheme:light dark";
  const line = document.createElement("summary");
  const charts = document.createElement("div");
  charts.style.cssText = "display:flex;flex-wrap:wrap;gap:12px 24px;padding-top:8px";
  panel.append(line, charts);
  const drawn = places.map(([title, lines]) => {
    const figure = document.createElement("figure");
    figure.style.cssText = "margin:0;flex:1 1 280px";
    const caption = document.createElement("figcaption");
    caption.append(title, ...lines.map(([key, colour]) => {
      const name = document.createElement("span");
      name.textContent = `  ${key.replaceAll("_", " ")}`;
      name.style.color = colour;
      return name;
    }));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.width = "100%";
    figure.append(caption, svg);
    charts.append(figure);
    return [svg, lines];
  });
  document.body.append(panel);

  const look = async () => {
    try {
      const said = await (await fetch("./varde/series")).json();
      line.replaceChildren(said.words);
      if (said.report) {
        const link = document.createElement("a");
        link.href = "./varde/report";
        link.textContent = "  the report";
        line.append(link);
      }
      if (said.series.length) drawn.forEach(([svg, lines]) => draw(svg, lines, said.series));
    } catch {
      line.textContent = "no answer from Locust";
    }
    setTimeout(look, 1000);
  };
  look();
})();
