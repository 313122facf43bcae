(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data) return;
  const locale = data.indian ? "en-IN" : "en-US", sign = data.indian ? "₹" : "";
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ink = css("--soft"), line = css("--line"), good = css("--good"), bad = css("--bad");
  const palette = ["#2563eb", "#e07b00", "#0a7a48", "#b3261e", "#7c3aed", "#0891b2", "#be185d", "#65a30d", "#475569", "#ca8a04", "#4f46e5", "#0d9488"];
  const number = (value, places) => value.toLocaleString(locale, { minimumFractionDigits: places, maximumFractionDigits: places });
  const rupees = (value, places = 2) => (value < 0 ? "-" : "") + sign + number(Math.abs(value), places);
  const short = value => {
    const size = Math.abs(value);
    if (!data.indian || size < 1e5) return rupees(value, size < 100 && value % 1 ? 2 : 0);
    const [unit, name] = size >= 1e7 ? [1e7, "cr"] : [1e5, "lakh"];
    return (value < 0 ? "-" : "") + sign + (size / unit).toLocaleString(locale, { maximumFractionDigits: 2 }) + " " + name;
  };
  const added = (differences, unit) => {
    let sum = 0;
    return differences.map(one => one === null ? null : (sum += one) / unit);
  };
  const india = 19800;
  const two = n => String(n).padStart(2, "0");
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const moment = (seconds, clock = true) => {
    const at = new Date((seconds + india) * 1000);
    const day = `${two(at.getUTCDate())} ${months[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
    return clock ? `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}` : day;
  };
  const times = added(data.times, 1), equity = added(data.equity, 100), held = added(data.held, 100);
  const places = times.map((_, at) => at);
  const labels = (u, splits) => {
    const wide = u.scales.x.max - u.scales.x.min;
    let before = "";
    return splits.map(at => {
      const seconds = times[Math.round(at)];
      if (seconds === undefined) return "";
      const text = moment(seconds, wide < 1500);
      const shown = wide < 1500 ? (text.slice(0, 6) === before ? text.slice(-5) : text.slice(0, 6) + " " + text.slice(-5)) : text;
      before = text.slice(0, 6);
      return shown;
    });
  };
  const charts = [], sync = uPlot.sync("time");
  let moving = false;
  const together = u => {
    if (moving) return;
    moving = true;
    const { min, max } = u.scales.x;
    charts.forEach(each => { if (each !== u && each.timed) each.setScale("x", { min, max }); });
    moving = false;
  };
  const draw = (box, columns, series, height, more = {}) => {
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const timed = !more.plain;
    const u = new uPlot({
      width: box.clientWidth - 32, height, cursor: timed ? { sync: { key: sync.key } } : {}, legend: { live: true },
      scales: { x: { time: false } },
      axes: [{ ...axis, space: 110, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], values: more.labels || labels },
        { ...axis, size: 84, values: (_, splits) => splits.map(more.axis || short) }],
      series: [{ label: "", value: (_, at) => at === null ? "" : more.at ? more.at(at) : moment(times[at]) }, ...series],
      hooks: { ready: [u => { u.timed = timed; }], setScale: timed ? [(u, key) => { if (key === "x" && u.timed) together(u); }] : [], draw: more.draw ? [more.draw] : [] },
    }, columns, box);
    charts.push(u);
    new ResizeObserver(() => { if (box.clientWidth - 32 !== u.width) u.setSize({ width: box.clientWidth - 32, height }); }).observe(box);
    return u;
  };
  const money = (_, value) => value === null || value === undefined ? "-" : rupees(value);
  const share = (_, value) => value === null || value === undefined ? "-" : number(value * 100, 2) + "%";
  const box = id => document.getElementById(id);
  if (times.length) {
    const lines = [{ label: "equity", stroke: css("--blue"), width: 1.6, value: money }], columns = [places, equity];
    if (held.length) { lines.push({ label: "buy and hold", stroke: css("--grey"), width: 1.2, dash: [5, 4], value: money }); columns.push(held); }
    draw(box("equity"), columns, lines, 320);
    let peak = -Infinity;
    const falls = equity.map(value => { peak = Math.max(peak, value); return peak > 0 ? value / peak - 1 : null; });
    draw(box("drawdown"), [places, falls], [{ label: "drawdown", stroke: bad, fill: bad + "33", width: 1, value: share }], 150,
      { axis: value => number(value * 100, 1) + "%" });
  }
  const daily = (id, days, curves) => {
    if (!curves.length || !days.length || !box(id)) return;
    draw(box(id), [days.map((_, at) => at), ...curves.map(one => added(one.equity, 100))],
      curves.map((one, at) => ({ label: one.name, stroke: palette[at % palette.length], width: 1.5, value: money })), 300,
      { plain: true, at: at => days[at] || "", labels: (_, splits) => splits.map(at => days[at] || "") });
  };
  daily("strategies", data.days, data.strategies);
  if (data.trials) daily("trials", data.trials.days, [data.trials]);
  const marks = fills => u => {
    const { min, max } = u.scales.x, context = u.ctx;
    let first = 0, last = fills.length;
    while (first < last) { const middle = (first + last) >> 1; if (fills[middle][0] < min) first = middle + 1; else last = middle; }
    let end = first;
    while (end < fills.length && fills[end][0] <= max) end++;
    const size = (end - first > 800 ? 2 : end - first > 150 ? 4 : 7) * devicePixelRatio;
    context.save();
    context.beginPath(); context.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); context.clip();
    for (let at = first; at < end; at++) {
      const [place, units, paise] = fills[at];
      const x = u.valToPos(place, "x", true), y = u.valToPos(paise / 100, "y", true), up = units > 0 ? 1 : -1;
      context.fillStyle = units > 0 ? good : bad;
      context.beginPath(); context.moveTo(x, y); context.lineTo(x - size * 0.7, y + up * size * 1.3); context.lineTo(x + size * 0.7, y + up * size * 1.3);
      context.fill();
    }
    context.restore();
  };
  const priceBoxes = [...document.querySelectorAll(".price")];
  data.prices.forEach((one, at) => {
    const begin = () => draw(priceBoxes[at], [places, added(one.price, 100)],
      [{ label: "price", stroke: css("--grey"), width: 1.2, value: money }], 300, { draw: marks(one.fills), axis: value => number(value, 2) });
    if ("IntersectionObserver" in window) {
      const seen = new IntersectionObserver(entries => { if (entries.some(each => each.isIntersecting)) { seen.disconnect(); begin(); } }, { rootMargin: "400px" });
      priceBoxes[at].style.minHeight = "340px";
      seen.observe(priceBoxes[at]);
    } else begin();
  });
  if (!data.trips) return;
  const { strategies, instruments, rows, more } = data.trips, page = 50;
  const columns = [
    ["Strategy", row => strategies[row[0]]], ["Instrument", row => instruments[row[1]]], ["Side", row => row[2] > 0 ? "long" : "short"],
    ["Quantity", row => row[3], value => number(value, 0)], ["Opened", row => row[4], value => moment(value)],
    ["Entry", row => row[5], value => number(value / 100, 2)], ["Closed", row => row[6], value => value === null ? "open" : moment(value)],
    ["Exit", row => row[7], value => value === null ? "-" : number(value / 100, 2)], ["Charges", row => row[8], value => rupees(value / 100)],
    ["Net P&L", row => row[9], value => value === null ? "-" : rupees(value / 100)]];
  let at = 0, by = 4, down = false;
  const list = () => {
    const place = box("trips");
    place.replaceChildren();
    if (!rows.length) { place.textContent = "No position was opened."; return; }
    const of = columns[by][1];
    const sorted = [...rows].sort((one, other) => {
      const a = of(one), b = of(other);
      return (a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? -1 : 1) * (down ? -1 : 1);
    });
    const nav = document.createElement("nav"), last = Math.ceil(rows.length / page) - 1;
    const go = (text, to) => { const made = document.createElement("button"); made.textContent = text; made.onclick = () => { at = Math.min(last, Math.max(0, to)); list(); }; return made; };
    nav.append(go("first", 0), go("before", at - 1), go("next", at + 1), go("last", last),
      `${number(at * page + 1, 0)} to ${number(Math.min(rows.length, (at + 1) * page), 0)} of ${number(rows.length, 0)}` + (more ? `, the last ones; ${number(more, 0)} earlier ones are in --json` : ""));
    const wide = document.createElement("div"), table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    wide.className = "wide";
    columns.forEach(([name], number_) => {
      const cell = document.createElement("th");
      cell.textContent = name + (number_ === by ? (down ? " ↓" : " ↑") : "");
      cell.onclick = () => { down = number_ === by ? !down : false; by = number_; at = 0; list(); };
      head.append(cell);
    });
    for (const row of sorted.slice(at * page, (at + 1) * page)) {
      const made = body.insertRow();
      columns.forEach(([, value, text], number_) => {
        const cell = made.insertCell(), shown = value(row);
        cell.textContent = text ? text(shown) : shown;
        if (number_ === 9 && shown) cell.className = shown > 0 ? "good" : "bad";
      });
    }
    wide.append(table);
    place.append(nav, wide);
  };
  list();
})();
