// Our charts under Locust's own page: latency, connections and rates, one point a second. No library, no network.
(() => {
  const places = [
    ["Latency, ms", { p50_ms: "#4c78a8", p99_ms: "#e45756", raw_p99_ms: "#f2a49a" }],
    ["Connected", { connected: "#54a24b", users: "#b5b5b5" }],
    ["Per second", { sent_per_second: "#4c78a8", received_per_second: "#f58518" }],
  ];
  const width = 420, height = 150, left = 48, bottom = 22;
  const text = (words, x, y, anchor) =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="11" fill="currentColor">${words}</text>`;

  const draw = (svg, lines, series) => {
    const most = Math.max(1e-9, ...series.flatMap((row) => Object.keys(lines).map((key) => row[key] ?? 0)));
    const first = series[0].at_s, last = Math.max(series.at(-1).at_s, first + 1);
    const x = (at) => left + ((at - first) / (last - first)) * (width - left - 8);
    const y = (value) => 8 + (1 - value / most) * (height - bottom - 8);
    const grid = [0, 0.5, 1].map((share) => {
      const at = y(most * share), words = (most * share).toLocaleString("en", { maximumSignificantDigits: 3 });
      const line = `<line x1="${left}" x2="${width - 8}" y1="${at}" y2="${at}" stroke="currentColor" stroke-opacity=".15"/>`;
      return line + text(words, left - 6, at + 4, "end");
    });
    const curves = Object.entries(lines).map(([key, colour]) => {
      const points = series.filter((row) => row[key] != null).map((row) => `${x(row.at_s)},${y(row[key])}`);
      return `<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.5"/>`;
    });
    const times = text(`${first.toFixed(0)} s`, left, height - 6, "start") + text(`${last.toFixed(0)} s`, width - 8, height - 6, "end");
    svg.innerHTML = grid.join("") + curves.join("") + times;
  };

  // Locust's program fills the window, so ours sticks to its lower edge, and folds away.
  const panel = document.createElement("details");
  panel.open = true;
  panel.style.cssText =
    "position:sticky;bottom:0;z-index:1;padding:8px 24px;font:13px system-ui,sans-serif;" +
    "color:light-dark(#444,#ccc);background:light-dark(#fff,#222);border-top:1px solid #8886;color-scheme:light dark";
  panel.innerHTML = "<summary></summary>" + '<div style="display:flex;flex-wrap:wrap;gap:12px 24px;padding-top:8px">' +
    places.map(([title, lines]) => {
      const names = Object.entries(lines).map(([key, colour]) => ` <span style="color:${colour}">${key.replaceAll("_", " ")}</span>`);
      return `<figure style="margin:0;flex:1 1 280px"><figcaption>${title}${names.join(" ")}</figcaption>` +
        `<svg viewBox="0 0 ${width} ${height}" style="width:100%"></svg></figure>`;
    }).join("") + "</div>";
  document.body.append(panel);
  const line = panel.querySelector("summary"), drawn = [...panel.querySelectorAll("svg")];

  const look = async () => {
    try {
      const said = await (await fetch("./varde/series")).json();
      line.textContent = said.words;
      if (said.report) line.insertAdjacentHTML("beforeend", ' <a href="./varde/report">the report</a>');
      if (said.series.length) drawn.forEach((svg, number) => draw(svg, places[number][1], said.series));
    } catch {
      line.textContent = "no answer from Locust";
    }
    setTimeout(look, 1000);
  };
  look();
})();
