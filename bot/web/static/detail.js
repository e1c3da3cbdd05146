// One event: what is known, where, how it came to be known, on what evidence, and how Slack and Discord show it.

import { el, link } from "./dom.js";
import * as discord from "./discord.js";
import * as keeping from "./keeping.js";
import * as map from "./map.js";
import * as slack from "./slack.js";
import * as words from "./words.js";

const LONG = 420; // characters of a post that are shown before one asks for more
const MANY = 6; // posts, likewise

let shown = null; // the id of the event that stands there

export function nothing(root) {
  shown = null;
  root.replaceChildren(el("div", { class: "blank" },
    el("p", {}, "Choose an event to see where it is, how it came to be known and on what evidence.")));
}

export function waiting(root) {
  shown = null;
  root.replaceChildren(el("div", { class: "blank", "aria-busy": "true" }, el("p", {}, "Loading …")));
}

export function gone(root, why, close) {
  shown = null;
  root.replaceChildren(header(close), el("div", { class: "blank" },
    el("h2", { tabindex: "-1" }, "No longer shown"), el("p", {}, words.sentence(why))));
}

export function show(root, found, close) {
  const { event, timeline, evidence, previews } = found;
  const same = shown === event.event;
  const left = same ? keeping.note(root) : null;
  const opened = new Set(same ? [...root.querySelectorAll(".posts > .whole")].map((post) => post.dataset.key) : []);
  if (same && root.querySelector(".posts.every") !== null) opened.add("every");
  const place = same && map.stands(root, event.place) ? root.querySelector(".map") : map.make(event.place, event.level);
  shown = event.event;
  root.replaceChildren(
    header(close),
    head(event),
    el("div", { class: "columns" },
      el("div", { class: "column" }, part("Where", place), part("What is known", facts(event))),
      el("div", { class: "column" }, part("How it came to be known", revisions(timeline))),
    ),
    part("Evidence", ...posts(evidence, opened)),
    el("div", { class: "columns" },
      part("As in Slack", slack.thread(previews.slack)),
      part("As in Discord", discord.thread(previews.discord)),
    ),
  );
  if (left !== null) keeping.restore(root, left);
}

function header(close) {
  return el("div", { class: "tools" },
    el("button", { type: "button", class: "close", onclick: close, "aria-keyshortcuts": "Escape" },
      el("span", { class: "back", "aria-hidden": "true" }, "←"), "Close"));
}

function part(title, ...content) {
  return el("section", { class: "part", "data-key": title }, el("h3", {}, title), ...content);
}

function head(event) {
  return el("div", { class: "head", "data-level": event.level },
    el("div", { class: "top" }, words.level(event.level), el("span", { class: "what" }, words.category(event.category)),
      ...words.marks(event).map((said) => el("span", { class: "mark" }, said)), words.age(event.raised_at)),
    el("h2", { tabindex: "-1", dir: "auto", class: event.kind === "retraction" ? "struck" : null }, event.headline),
    event.change ? el("p", { class: "change", dir: "auto" }, words.sentence(event.change)) : null);
}

function facts(event) {
  const rows = [
    ["Place", el("bdi", {}, words.place(event.place)),
      event.place && event.place.radius_km >= 1 ? `, within ${words.kilometres(event.place.radius_km)}` : ""],
    ["Certainty", words.certainty(event.certainty)],
    ["Heard from", `${words.counted(event.authors, "independent voice")} in ${words.posts(event)}`],
    ["Providers", event.sources.join(", ")],
    ["First post", words.clock(event.first_post_at)],
    ["Last change", words.clock(event.raised_at), ` (revision ${event.revision})`],
  ];
  return el("dl", { class: "known" }, ...rows.map(([name, ...said]) => el("div", {}, el("dt", {}, name),
    el("dd", {}, ...said))));
}

function revisions(timeline) {
  let loudest = null;
  const items = timeline.map((each) => {
    const raised = loudest !== null && each.level !== loudest;
    const item = el("li", { "data-level": each.level, "data-kind": each.kind },
      el("div", { class: "step" }, words.clock(each.raised_at), el("b", {}, words.kind(each.kind)),
        loudest === null || raised ? words.level(each.level) : null),
      el("p", { dir: "auto" }, words.sentence(each.change || each.headline)),
      el("p", { class: "aside" }, `${each.certainty} · ${words.voices(each)} in ${words.posts(each)}`));
    loudest = each.level;
    return item;
  });
  return el("ol", { class: "timeline", reversed: true, "aria-label": "Revisions, the latest first" },
    ...items.reverse());
}

function posts(evidence, opened) {
  if (evidence.why !== "") {
    return [el("p", { class: "locked" }, words.sentence(`The posts behind this are not shown: ${evidence.why}`))];
  }
  const notes = [];
  if (evidence.gone > 0) notes.push(`${words.counted(evidence.gone, "post")} deleted at the source and purged here`);
  if (evidence.left_out > 0) notes.push(`${evidence.left_out} more not listed`);
  const list = el("ol", { class: "posts" }, ...evidence.posts.map((post) => postOf(post, opened)));
  const many = evidence.posts.length > MANY + 1 && !opened.has("every");
  const all = many ? [...list.children].slice(MANY) : [];
  for (const post of all) post.hidden = true;
  if (!many) list.classList.add("every");
  return [
    list,
    many ? el("button", { type: "button", class: "all", onclick: (press) => {
      for (const post of all) post.hidden = false;
      list.classList.add("every");
      press.target.remove();
    } }, `Show all ${words.counted(evidence.posts.length, "post")}`) : null,
    notes.length > 0 ? el("p", { class: "aside" }, words.sentence(notes.join("; "))) : null,
  ];
}

function postOf(post, opened) {
  const key = `${post.provider} ${post.author} ${post.created_at}`;
  const author = post.author && !post.author.startsWith("did:") ? post.author : null;
  const long = post.text.length > LONG || post.text.split("\n").length > 8;
  const card = el("li", { "data-key": key, class: long && !opened.has(key) ? "long" : "whole" },
    el("div", { class: "by" }, el("span", { class: "provider" }, post.provider),
      author ? el("bdi", { class: "author" }, author) : null, words.clock(post.created_at),
      post.url ? link(post.url, "Open the post") : null),
    el("blockquote", { dir: "auto" }, post.text || "(no text)"));
  if (long && !opened.has(key)) {
    card.append(el("button", { type: "button", class: "more", onclick: (press) => {
      card.className = "whole";
      press.target.remove();
    } }, "Show all of it"));
  }
  return card;
}
