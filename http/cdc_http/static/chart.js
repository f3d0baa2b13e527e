// The last hour of one or two measures as a small drawing with its axes, and its story in words.

import { make, makeSvg, setLabel, setText, show } from "./dom.js";
import { duration, hour, inUnit, moment } from "./format.js";

const WIDTH = 360;
const HEIGHT = 64;
const TOP = 2;
const WIDE = 20;
const FEWEST = 12; // steps from edge to edge

// Draw lines of a trend into a place; `lost` is the line that tells when a server was unavailable.
export function draw(place, trend, names, lost) {
  const lines = names.map((name) => trend.lines.find((line) => line.name === name)).filter(Boolean);
  const steps = Math.max(0, ...lines.map((line) => line.values.length));
  show(place, steps >= 2);
  if (steps < 2) return;
  const unit = lines[0].unit;
  const scale = scaleFor(lines.flatMap((line) => line.values).filter((value) => value !== null), unit);
  const slots = Math.max(steps, FEWEST); // a daemon that is younger than an hour has its own time from edge to edge
  const svg = drawLines(lines, lost, { scale, steps, slots });
  setLabel(svg, describe(lines, trend, lost));

  const parts = place.firstChild ? place.parts : (place.parts = makeParts(place));
  parts.field.replaceChildren(svg, parts.cursor);
  setText(parts.top, inUnit(scale.most, unit));
  setText(parts.middle, inUnit(scale.least ? Math.sqrt(scale.most * scale.least) : scale.most / 2, unit));
  setText(parts.bottom, scale.least ? inUnit(scale.least, unit) : "0");
  setText(parts.start, hour(trend.end - slots * trend.step));
  setText(parts.end, hour(trend.end));
  parts.read = (fraction) => {
    const at = Math.min(steps - 1, Math.floor(fraction * slots) - (slots - steps));
    const told = lines.map((line) => [line, line.values[at]]).filter(([, value]) => value !== null && value !== undefined);
    parts.cursor.style.left = `${((slots - steps + at + 0.5) / slots) * 100}%`;
    show(parts.cursor, at >= 0);
    const name = (line) => (lines.length > 1 ? `${line.title.split(", ").at(-1)} ` : "");
    const values = told.map(([line, value]) => `${name(line)}${inUnit(value, line.unit)}`).join(", ");
    return at < 0 ? "" : `${moment(trend.end - (steps - at) * trend.step)}  ${values || "no value"}`;
  };
  if (parts.pointed !== null) point(parts, parts.pointed);
}

// The frame of a drawing, made once: whoever points at it goes on pointing when new values come.
function makeParts(place) {
  const parts = { pointed: null };
  for (const name of ["top", "middle", "bottom", "start", "end", "reading"]) parts[name] = make("span", { className: name });
  parts.cursor = make("div", { className: "cursor", hidden: true });
  parts.field = make("div", { className: "field" });
  parts.reading.hidden = true;
  const y = make("div", { className: "y" }, parts.top, parts.middle, parts.bottom);
  const x = make("div", { className: "x" }, parts.start, parts.end, parts.reading);
  for (const axis of [y, x]) axis.setAttribute("aria-hidden", "true");
  place.replaceChildren(y, parts.field, x);
  const follow = (event) => {
    const box = parts.field.getBoundingClientRect();
    point(parts, Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  for (const name of ["pointermove", "pointerdown"]) parts.field.addEventListener(name, follow);
  for (const name of ["pointerleave", "pointercancel"]) parts.field.addEventListener(name, () => point(parts, null));
  return parts;
}

// Where the pointer is: the values of that moment in place of the axis's times.
function point(parts, fraction) {
  parts.pointed = fraction;
  const reading = fraction === null ? "" : parts.read(fraction);
  setText(parts.reading, reading);
  show(parts.reading, reading !== "");
  for (const each of [parts.start, parts.end]) show(each, reading === "");
  if (!reading) show(parts.cursor, false);
}

function drawLines(lines, lost, { scale, steps, slots }) {
  const x = (at) => ((slots - steps + at + 0.5) / slots) * WIDTH;
  const y = (value) => HEIGHT - 1 - scale.height(value) * (HEIGHT - TOP - 1);
  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  for (const [from, to] of outages(lost)) {
    const left = x(from - 0.5);
    svg.append(makeSvg("rect", { class: "away", x: left, width: x(to + 0.5) - left, y: 0, height: HEIGHT }));
  }
  for (const part of [TOP, HEIGHT / 2]) svg.append(makeSvg("path", { class: "grid", d: `M0 ${part}H${WIDTH}` }));
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
  return svg;
}

// How high a value stands, from 0 to 1, between `least` and `most`. Times that differ by far are set by their orders of
// magnitude, or one outage would make a line of everything else.
function scaleFor(values, unit) {
  const most = Math.max(...values, 0) || 1;
  const smallest = Math.min(...values.filter((value) => value > 0), most);
  if (unit !== "seconds" || most / smallest < WIDE) return { most, least: 0, height: (value) => value / most };
  const least = smallest / 2;
  const low = Math.log(least);
  const height = (value) => (value > 0 ? Math.max(0, Math.log(value) - low) / (Math.log(most) - low) : 0);
  return { most, least, height };
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
  return `Last ${length}. ${told.join(". ")}.${away ? ` A server was unavailable ${away === 1 ? "once" : `${away} times`}.` : ""}`;
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

export function outages(line) {
  const found = [];
  (line?.values ?? []).forEach((value, at) => {
    if (value !== 0) return;
    if (found.length && found.at(-1)[1] === at - 1) found.at(-1)[1] = at;
    else found.push([at, at]);
  });
  return found;
}
