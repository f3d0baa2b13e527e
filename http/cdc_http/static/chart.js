// The last hour of one or two measures as a small drawing, with its story in words.

import { makeSvg, setText } from "./dom.js";
import { duration, inUnit, moment } from "./format.js";

const WIDTH = 360;
const HEIGHT = 56;
const TOP = 4;
const WIDE = 20;
const FEWEST = 12; // steps from edge to edge

// Draw lines of a trend into a place; `lost` is the line that tells when a server was away.
export function draw(place, trend, names, lost) {
  const lines = names.map((name) => trend.lines.find((line) => line.name === name)).filter(Boolean);
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  const steps = Math.max(0, ...lines.map((line) => line.values.length));
  place.hidden = steps < 2;
  if (steps < 2) return;
  const height = scaleFor(values, lines[0].unit);
  const slots = Math.max(steps, FEWEST); // a daemon that is younger than an hour has its own time from edge to edge
  const x = (at) => ((slots - steps + at + 0.5) / slots) * WIDTH;
  const y = (value) => HEIGHT - 1 - height(value) * (HEIGHT - TOP - 1);

  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  svg.setAttribute("aria-label", describe(lines, trend, lost));
  for (const [from, to] of outages(lost)) {
    const left = x(from - 0.5);
    svg.append(makeSvg("rect", { class: "away", x: left, width: x(to + 0.5) - left, y: 0, height: HEIGHT }));
  }
  lines.forEach((line, number) => {
    for (const piece of pieces(line.values)) {
      const points = piece.map(([at, value]) => `${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
      if (!number) {
        const area = `M${x(piece[0][0]).toFixed(1)} ${HEIGHT}L${points.join("L")}L${x(piece.at(-1)[0]).toFixed(1)} ${HEIGHT}Z`;
        svg.append(makeSvg("path", { class: "area", d: area }));
      }
      svg.append(makeSvg("path", { class: `line line-${number}`, d: `M${points.join("L")}${points.length < 2 ? "h1" : ""}` }));
    }
  });
  const scale = document.createElement("p");
  scale.className = "scale";
  scale.setAttribute("aria-hidden", "true");
  const [start, highest] = [document.createElement("span"), document.createElement("span")];
  start.className = "began";
  setText(start, `since ${moment(trend.end - steps * trend.step).slice(0, 5)}`);
  setText(highest, `highest ${inUnit(values.length ? Math.max(...values) : null, lines[0].unit)}`);
  scale.append(start, highest);
  place.replaceChildren(svg, scale);
  readOut(svg, highest, { lines, trend, steps, slots });
}

// How high a value stands, from 0 to 1. Times that differ by far are set by their orders of magnitude, or one outage
// would make a line of everything else.
function scaleFor(values, unit) {
  const most = Math.max(...values, 0) || 1;
  const least = Math.min(...values.filter((value) => value > 0), most);
  if (unit !== "seconds" || most / least < WIDE) return (value) => value / most;
  const low = Math.log(least / 2);
  return (value) => (value > 0 ? Math.max(0, Math.log(value) - low) / (Math.log(most) - low) : 0);
}

// Under the pointer: the values of that moment instead of the highest.
function readOut(svg, label, { lines, trend, steps, slots }) {
  const usual = label.textContent;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = Math.floor(((event.clientX - box.left) / box.width) * slots) - (slots - steps);
    const told = lines.map((line) => line.values[at]).filter((value) => value !== null && value !== undefined);
    const when = moment(trend.end - (steps - at) * trend.step);
    setText(label, told.length ? `${when}: ${told.map((value) => inUnit(value, lines[0].unit)).join(", ")}` : usual);
  });
  svg.addEventListener("pointerleave", () => setText(label, usual));
}

function describe(lines, trend, lost) {
  const told = lines.map((line) => {
    const values = line.values.filter((value) => value !== null);
    if (!values.length) return `${line.title}: nothing in this time`;
    const [least, most, last] = [Math.min(...values), Math.max(...values), values.at(-1)].map((value) => inUnit(value, line.unit));
    return `${line.title}: lowest ${least}, highest ${most}, lately ${last}`;
  });
  const length = duration(Math.max(...lines.map((line) => line.values.length)) * trend.step);
  const away = outages(lost).length;
  return `Last ${length}. ${told.join(". ")}.${away ? ` A server was away ${away === 1 ? "once" : `${away} times`}.` : ""}`;
}

// Stretches without a gap, as [place, value].
function pieces(values) {
  const found = [];
  let piece = [];
  values.forEach((value, at) => {
    if (value !== null) piece.push([at, value]);
    if ((value === null || at === values.length - 1) && piece.length) {
      found.push(piece);
      piece = [];
    }
  });
  return found;
}

function outages(line) {
  const found = [];
  (line?.values ?? []).forEach((value, at) => {
    if (value !== 0) return;
    if (found.length && found.at(-1)[1] === at - 1) found.at(-1)[1] = at;
    else found.push([at, at]);
  });
  return found;
}
