// Numbers, sizes, times: as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat("en-GB", { ...CLOCK, second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", CLOCK);
const day = new Intl.DateTimeFormat("en-GB", { ...CLOCK, month: "short", day: "numeric" });

const NONE = "–";
const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

export function rate(value) {
  if (value === null || value === undefined) return NONE;
  return `${value < 10 ? tenth.format(value) : whole.format(value)}/s`;
}

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value === 0) return "0 s";
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

// A moment in seconds since epoch: the time of day for one of the last twelve hours, else the day too.
export function moment(value) {
  if (!value) return NONE;
  const then = new Date(value * 1000);
  return (Math.abs(Date.now() - then) < 12 * 3600e3 ? clock : day).format(then);
}

// A moment by hours and minutes, for an axis.
export function hour(value) {
  return minute.format(new Date(value * 1000));
}

// The time zone in which moments are shown.
export function zone() {
  const minutes = -new Date().getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const offset = minutes ? `UTC${minutes < 0 ? "−" : "+"}${hours}${rest ? `:${String(rest).padStart(2, "0")}` : ""}` : "UTC";
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return !name || name === "UTC" ? offset : `${name}, ${offset}`;
}

export function ago(value, now) {
  return value ? `${duration(Math.max(0, now - value))} ago` : NONE;
}

// A value by the name of its unit, as /status and /events give them.
export function inUnit(value, unit) {
  switch (unit) {
    case "seconds": return seconds(value);
    case "bytes": return bytes(value);
    case "per second": return rate(value);
    case "share": return percent(value);
    case "moment": return moment(value);
    case "text": return tell(value);
    default: return count(value);
  }
}

// A value of any shape in words: what a later daemon tells is shown too.
export function tell(value) {
  if (value === null || value === undefined) return NONE;
  if (Array.isArray(value)) return value.length ? value.map(tell).join(", ") : "none";
  if (typeof value === "object") {
    const parts = Object.entries(value).filter(([, part]) => part !== null);
    return parts.map(([name, part]) => `${name.replaceAll("_", " ")} ${tell(part)}`).join(", ") || "none";
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? tenth.format(value) : String(value);
}

// JSON whose whole numbers keep all their digits: those beyond what a number holds exactly are texts.
export function parse(text) {
  return JSON.parse(text, (_name, value, context) => {
    const isRounded = typeof value === "number" && !Number.isSafeInteger(value);
    return isRounded && /^-?\d+$/.test(context?.source ?? "") ? context.source : value;
  });
}
