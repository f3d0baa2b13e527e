// Numbers, sizes, times: as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

const NONE = "–";
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return value < 10 ? tenth.format(value) : whole.format(value);
}

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1) return `${whole.format(value * 1000)} ms`;
  if (value < 100) return `${tenth.format(value)} s`;
  return duration(value);
}

export function duration(value) {
  if (value === null || value === undefined) return NONE;
  const minutes = Math.floor(value / 60);
  if (value < 1) return "0 s";
  if (minutes < 1) return `${Math.floor(value)} s`;
  if (minutes < 60) return `${minutes} min ${Math.floor(value % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  let power = 0;
  let left = value;
  while (left >= 1024 && power < SIZES.length - 1) {
    left /= 1024;
    power += 1;
  }
  return `${left < 10 && power ? tenth.format(left) : whole.format(left)} ${SIZES[power]}`;
}

export function percent(share) {
  return `${share < 0.1 ? tenth.format(share * 100) : whole.format(share * 100)} %`;
}

// A moment in seconds since epoch: the time of day for today's, else the day too.
export function moment(value) {
  if (!value) return NONE;
  const then = new Date(value * 1000);
  return (Date.now() - then < 12 * 3600e3 ? clock : day).format(then);
}

export function ago(value, now) {
  return value ? `${duration(Math.max(0, now - value))} ago` : NONE;
}

// A value by the name of its unit, as /status and /events give them.
export function inUnit(value, unit) {
  switch (unit) {
    case "seconds": return seconds(value);
    case "bytes": return bytes(value);
    case "per second": return `${rate(value)}/s`;
    case "share": return percent(value);
    case "moment": return moment(value);
    case "text": return value === null || value === undefined ? NONE : String(value);
    default: return count(value);
  }
}
