// "3 min ago", counted on. web/moment.py counts alike.
const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];

export function relative(at, now) {
  const seconds = (now - at) / 1000;
  const length = Math.abs(seconds);
  if (length < 1) return "now";
  const [, unit, name] = STEPS.find(([limit]) => length < limit);
  const text = `${Math.floor(length / unit)} ${name}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

export function count(root = document) {
  const now = Date.now();
  for (const time of root.getElementsByTagName("time")) {
    const ago = time.firstElementChild;
    const text = relative(Date.parse(time.dateTime), now);
    if (ago && ago.textContent !== text) ago.textContent = text;
  }
}
