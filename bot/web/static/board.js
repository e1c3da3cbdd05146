// The list: asks for it every two seconds, filters it, moves through it, and opens one event beside it.

import { el } from "./dom.js";
import * as detail from "./detail.js";
import * as shortcuts from "./shortcuts.js";
import * as words from "./words.js";

const EVERY_MS = 2_000;
const HIDDEN_MS = 15_000;
const TIMEOUT_MS = 10_000;

const $ = (id) => document.getElementById(id);
const rows = new Map(); // event → its element in the list
const wanted = { levels: new Set(words.LEVELS), category: "", search: "", past: "day" };
const tags = new Map(); // address → ETag of what was read last
let listing = null; // what was read last
let open = null; // the id of the event beside the list
let current = null; // the id of the event that the keyboard is at
let timer = 0;

async function read(path, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const org = new URLSearchParams(location.search).get("org");
  if (org !== null) query.set("org", org);
  const address = `${path}?${query}`;
  const headers = tags.has(address) ? { "If-None-Match": tags.get(address) } : {};
  const response = await fetch(address, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.status === 304) return { status: 304, body: null };
  const body = await response.json();
  if (response.ok) tags.set(address, response.headers.get("ETag"));
  else tags.delete(address);
  return { status: response.status, body };
}

async function poll() {
  clearTimeout(timer);
  const asked = wanted.past;
  try {
    const { status, body } = await read("/board/events", { past: asked });
    if (status === 401) return location.assign("/login");
    if (status >= 500) throw new Error(body.why);
    if (status === 200 && asked === wanted.past) take({ ...body, past: asked });
    else if (status >= 400) take({ org: null, organisations: [], history: false, events: [], why: body.why });
    if (open !== null) await readDetail(open);
    say("live", "Live");
  } catch {
    say("lost", "Reconnecting");
  }
  words.tick(document);
  timer = setTimeout(poll, document.hidden ? HIDDEN_MS : EVERY_MS);
}

async function readDetail(event) {
  const { status, body } = await read(`/board/events/${encodeURIComponent(event)}`);
  if (open !== event || status === 304) return;
  if (status >= 500) throw new Error(body.why);
  if (status === 200) detail.show($("detail"), body, close);
  else detail.gone($("detail"), body.why, close);
}

function take(found) {
  const before = listing;
  listing = found;
  $("org").textContent = found.organisations.length > 1 ? "" : (found.org?.name ?? "");
  fillOrganisations(found);
  $("past").hidden = !found.history;
  fillLevels();
  fillCategories();
  draw();
  if (before !== null && before.org?.org === found.org?.org && before.past === found.past) announce(before, found);
}

function announce(before, found) {
  const known = new Map(before.events.map((event) => [event.event, event]));
  const said = [];
  for (const event of found.events) {
    const last = known.get(event.event);
    if (last?.alert === event.alert) continue;
    said.push(`${last ? words.kind(event.kind) : "New"}: ${event.level}, ${event.headline}`);
    rows.get(event.event)?.classList.add("fresh");
  }
  if (said.length > 0) $("announcer").textContent = said.slice(0, 3).join(". ");
}

function fillOrganisations(found) {
  const choice = found.organisations;
  $("orgs").hidden = choice.length < 2 && !(choice.length === 1 && found.org === null);
  if ($("orgs").hidden) return;
  const options = choice.map((org) => new Option(org.name, org.org, false, org.org === found.org?.org));
  if (found.org === null) options.unshift(new Option("Organisation …", "", true, true));
  refill($("orgs"), options);
}

function fillLevels() {
  const buttons = words.LEVELS.map((level) => {
    const count = listing.events.filter((event) => event.level === level).length;
    return el("button", {
      type: "button", "data-level": level, "aria-pressed": String(wanted.levels.has(level)),
      "aria-label": `${level}, ${words.counted(count, "event")}`, onclick: () => toggle(level),
    }, words.level(level), el("span", { class: "number" }, String(count)));
  });
  const focused = $("levels").contains(document.activeElement) ? document.activeElement.dataset.level : null;
  $("levels").replaceChildren(...buttons);
  if (focused !== null) $("levels").querySelector(`button[data-level="${focused}"]`)?.focus();
}

function fillCategories() {
  const counts = new Map();
  for (const { category } of listing.events) counts.set(category, (counts.get(category) ?? 0) + 1);
  if (wanted.category !== "" && !counts.has(wanted.category)) counts.set(wanted.category, 0);
  const options = [...counts].sort().map(([name, count]) =>
    new Option(`${words.category(name)} (${count})`, name, false, name === wanted.category));
  refill($("categories"), [new Option("All categories", "", true, wanted.category === ""), ...options]);
}

/** Leaves an open list alone where nothing has changed. */
function refill(select, options) {
  const text = (each) => [...each].map((option) => `${option.value}\n${option.text}\n${option.selected}`).join("\n");
  if (text(select.options) !== text(options)) select.replaceChildren(...options);
}

function toggle(level) {
  if (!wanted.levels.delete(level)) wanted.levels.add(level);
  fillLevels();
  draw();
}

function matching() {
  const terms = wanted.search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return listing.events.filter((event) => {
    if (!wanted.levels.has(event.level)) return false;
    if (wanted.category !== "" && event.category !== wanted.category) return false;
    const text = [event.headline, words.place(event.place), words.category(event.category), event.level,
      event.certainty, ...words.marks(event), ...event.sources].join(" ").toLocaleLowerCase();
    return terms.every((term) => text.includes(term));
  });
}

function draw() {
  const shown = matching();
  const list = $("list");
  const focused = list.contains(document.activeElement);
  const kept = new Set(shown.map((event) => event.event));
  for (const [event, row] of rows) {
    if (!kept.has(event)) {
      row.remove();
      rows.delete(event);
    }
  }
  if (!kept.has(current)) current = shown[0]?.event ?? null;
  shown.forEach((event, at) => {
    const row = rowOf(event);
    if (list.children[at] !== row) list.insertBefore(row, list.children[at] ?? null);
  });
  mark();
  if (focused && current !== null) rows.get(current).focus({ preventScroll: true });
  explainNothing(shown);
  list.hidden = shown.length === 0;
  const all = listing.events.length;
  const of = shown.length === all ? words.counted(all, "event") : `${shown.length} of ${words.counted(all, "event")}`;
  $("count").textContent = listing.more ? `${of}, the latest only` : of;
}

function explainNothing(shown) {
  $("nothing").hidden = shown.length > 0;
  if (shown.length > 0) return;
  const filtered = listing.events.length > 0;
  const title = filtered ? "Nothing matches" : listing.why ? "Nothing can be shown" : "Nothing so far";
  const why = filtered
    ? "Widen the search, the levels or the category."
    : listing.why ? words.sentence(listing.why)
      : "Nothing was detected in this time. The board shows an event as soon as there is one.";
  $("nothing").replaceChildren(el("h2", {}, title), el("p", {}, why));
}

function rowOf(event) {
  const known = rows.get(event.event);
  const text = JSON.stringify(event);
  if (known?.said === text) return known;
  const row = known ?? el("div", { class: "row", role: "option", id: `event-${event.event}`, tabindex: "-1",
    onclick: () => show(event.event) });
  row.said = text;
  row.dataset.level = event.level;
  row.classList.toggle("retracted", event.kind === "retraction");
  row.replaceChildren(
    el("div", { class: "top" }, words.level(event.level), el("span", { class: "what" }, words.category(event.category)),
      ...words.marks(event).map((said) => el("span", { class: "mark" }, said)), words.age(event.raised_at)),
    el("div", { class: "headline", dir: "auto" }, event.headline),
    el("div", { class: "facts" },
      el("bdi", { class: "where" }, words.shortPlace(event.place)), el("span", {}, event.certainty),
      el("span", {}, words.voices(event))),
  );
  rows.set(event.event, row);
  return row;
}

function mark() {
  for (const [event, row] of rows) {
    row.setAttribute("aria-selected", String(event === open));
    row.tabIndex = event === current ? 0 : -1;
  }
}

function move(by) {
  const order = [...$("list").children];
  if (order.length === 0) return;
  const at = order.indexOf(rows.get(current));
  const going = open !== null || $("list").contains(document.activeElement);
  const to = going ? Math.max(0, Math.min(order.length - 1, at + by)) : Math.max(0, at);
  current = order[to].id.slice("event-".length);
  mark();
  order[to].focus();
  order[to].scrollIntoView({ block: "nearest" });
}

function show(event) {
  if (location.hash !== `#${event}`) location.hash = event;
  else follow();
}

function close() {
  if (location.hash !== "") history.pushState(null, "", location.pathname + location.search);
  follow();
  rows.get(current)?.focus();
}

/** Opens what the address says. */
async function follow() {
  const event = decodeURIComponent(location.hash.slice(1));
  open = event === "" ? null : event;
  document.body.classList.toggle("opened", open !== null);
  for (const address of tags.keys()) if (address.startsWith("/board/events/")) tags.delete(address);
  if (open === null) {
    detail.nothing($("detail"));
    return mark();
  }
  if (rows.has(open)) current = open;
  mark();
  detail.waiting($("detail"));
  $("pane").scrollTop = 0;
  try {
    await readDetail(open);
    if (open === event) $("detail").querySelector("h2")?.focus({ preventScroll: true });
  } catch {
    say("lost", "Reconnecting");
  }
}

function say(state, text) {
  if ($("state").dataset.state === state) return;
  $("state").dataset.state = state;
  $("state-text").textContent = text;
}

document.addEventListener("keydown", (press) => {
  if (press.ctrlKey || press.metaKey || press.altKey) return;
  const typing = press.target.matches("input, select, textarea");
  const inList = $("list").contains(press.target);
  const search = $("search");
  if (press.key === "Escape" && press.target === search && search.value !== "") {
    search.value = wanted.search = "";
    draw();
  } else if (press.key === "Escape") {
    if (open !== null) close();
    else if (typing) press.target.blur();
  } else if (press.key === "/" && shortcuts.meant(press)) search.focus();
  else if (press.key === "j" && shortcuts.meant(press)) move(1);
  else if (press.key === "k" && shortcuts.meant(press)) move(-1);
  else if (press.key === "ArrowDown" && (inList || press.target === search || press.target === document.body)) move(1);
  else if (press.key === "ArrowUp" && inList) move(-1);
  else if (press.key === "Home" && inList) move(-Infinity);
  else if (press.key === "End" && inList) move(Infinity);
  else if ((press.key === "Enter" || press.key === " ") && inList && current !== null) show(current);
  else return;
  press.preventDefault();
});

$("list").addEventListener("focusin", (focus) => {
  const row = focus.target.closest(".row");
  if (row === null) return;
  current = row.id.slice("event-".length);
  mark();
});
$("search").addEventListener("input", () => {
  wanted.search = $("search").value;
  if (listing !== null) draw();
});
$("categories").addEventListener("change", () => {
  wanted.category = $("categories").value;
  draw();
});
$("past").addEventListener("change", () => {
  wanted.past = $("past").value;
  tags.clear();
  poll();
});
$("orgs").addEventListener("change", () => location.assign(`/?${new URLSearchParams({ org: $("orgs").value })}`));
document.addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("hashchange", follow);

shortcuts.obey($("shortcuts"), $("search"));
detail.nothing($("detail"));
await poll();
if (location.hash !== "") await follow();
