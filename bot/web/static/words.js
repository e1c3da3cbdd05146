// How levels, places, figures and times are said.

import { el, svg } from "./dom.js";

export const LEVELS = ["flash", "urgent", "alert"];

const SHAPES = {
  flash: "M8 1 15.5 14.5H.5zM7.2 6v4.2h1.6V6zm0 5.3v1.6h1.6v-1.6z",
  urgent: "M8 .6 15.4 8 8 15.4.6 8zM7.2 4.4v4.4h1.6V4.4zm0 5.5v1.7h1.6V9.9z",
  alert: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm-.8 3.4h1.6v4.4H7.2zm0 5.5h1.6v1.7H7.2z",
};
const KINDS = { new: "New", update: "Update", correction: "Correction", retraction: "Retraction" };
const CERTAINTIES = { possible: "possible, not confirmed", likely: "likely", observed: "observed" };
const COUNTRIES = new Intl.DisplayNames(["en"], { type: "region" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** Shape, word and colour. */
export function level(name) {
  const shape = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: SHAPES[name] ?? SHAPES.alert, "fill-rule": "evenodd" }));
  return el("span", { class: "level", "data-level": name }, shape, name.toUpperCase());
}

export const kind = (name) => KINDS[name] ?? name;
export const certainty = (name) => CERTAINTIES[name] ?? name;

export function category(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What stands against an event, as words. */
export function marks(event) {
  const found = [];
  if (event.kind === "retraction") found.push("Retracted");
  if (event.kind === "correction") found.push("Corrected");
  if (event.disputed) found.push("Disputed");
  return found;
}

export function place(where) {
  if (where === null) return "Place unknown";
  const country = where.country === null ? "" : countryName(where.country);
  return country === "" || where.name.includes(country) ? where.name : `${where.name} (${country})`;
}

/** As short as it is clear: without the country where the name says more than the place alone. */
export const shortPlace = (where) => (where?.name.includes(",") ? where.name : place(where));

export const voices = (event) => counted(event.authors, "voice");
export const posts = (event) => counted(event.posts, "post");
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Radii are what they are worth: two figures. */
export function kilometres(km) {
  const size = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(km, 1))) - 1);
  return `${(Math.round(km / size) * size).toLocaleString()} km`;
}

/** `<time>` that `tick` keeps up to date. */
export function age(text) {
  return timed(text, "age", ago(new Date(text)));
}

export function clock(text) {
  const when = new Date(text);
  const today = when.toDateString() === new Date().toDateString();
  return timed(text, "clock", today ? CLOCK.format(when) : `${DAY.format(when)}, ${CLOCK.format(when)}`);
}

export function tick(root) {
  for (const time of root.querySelectorAll("time.age")) {
    const said = ago(new Date(time.dateTime));
    if (time.textContent !== said) time.textContent = said;
  }
}

export function ago(when) {
  const minutes = Math.floor((Date.now() - when.getTime()) / 60_000);
  if (minutes < -1 || minutes >= 48 * 60) return DAY.format(when);
  if (minutes < 1) return "now";
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
}

export function agoInWords(when) {
  const said = ago(when);
  return /\d (min|h)$/.test(said) ? `${said} ago` : said;
}

export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

function timed(text, kind, said) {
  return el("time", { class: kind, datetime: text, title: FULL.format(new Date(text)) }, said);
}

function countryName(code) {
  try {
    return COUNTRIES.of(code) ?? code;
  } catch {
    return code;
  }
}
