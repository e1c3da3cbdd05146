// Block Kit, drawn as far as the service uses it. What is not known here becomes a box that says its type.

import { el, link } from "./dom.js";
import * as words from "./words.js";

/** The message first, then its thread. */
export function thread(rendered) {
  const [message, ...replies] = rendered;
  return el("div", { class: "slack" },
    messageOf(message),
    replies.length === 0 ? null : el("details", { class: "replies" },
      el("summary", {}, words.counted(replies.length, "reply").replace("replys", "replies")), ...replies.map(messageOf)));
}

function messageOf(message) {
  return el("div", { class: "said" }, el("img", { src: "/static/icon.svg", alt: "", width: 36, height: 36 }),
    el("div", { class: "body" },
      el("div", { class: "from" }, el("b", {}, "Tocsin"), el("span", { class: "app" }, "APP")),
      ...(message.blocks?.length ? message.blocks.map(block) : [el("p", {}, unescaped(message.text ?? ""))]),
      ...(message.attachments ?? []).map(attachment)));
}

function attachment(found) {
  const inside = el("div", { class: "attachment" },
    ...(found.blocks?.length ? found.blocks.map(block) : [el("p", {}, unescaped(found.fallback ?? ""))]));
  if (/^#[0-9a-f]{6}$/i.test(found.color ?? "")) inside.style.borderLeftColor = found.color;
  return inside;
}

function block(found) {
  switch (found.type) {
    case "header":
      return el("div", { class: "heading" }, textOf(found.text));
    case "section":
      return el("div", { class: "section" }, el("div", {}, found.text ? textOf(found.text) : null,
        found.fields ? el("div", { class: "fields" }, ...found.fields.map((each) => el("div", {}, textOf(each)))) : null),
        found.accessory ? element(found.accessory) : null);
    case "context":
      return el("div", { class: "context" }, ...found.elements.map((each) =>
        el("span", {}, each.type === "image" ? `[${each.alt_text ?? "image"}]` : textOf(each))));
    case "actions":
      return el("div", { class: "actions" }, ...found.elements.map(element));
    case "divider":
      return el("hr");
    case "rich_text":
      return el("div", { class: "rich" }, ...found.elements.map(rich));
    default:
      return unknown(found);
  }
}

function rich(found) {
  switch (found.type) {
    case "rich_text_section":
      return el("p", {}, ...found.elements.map(piece));
    case "rich_text_quote":
      return el("blockquote", { dir: "auto" }, ...found.elements.map(piece));
    case "rich_text_preformatted":
      return el("pre", {}, ...found.elements.map(piece));
    case "rich_text_list":
      return el(found.style === "ordered" ? "ol" : "ul", {}, ...found.elements.map((each) => el("li", {}, rich(each))));
    default:
      return unknown(found);
  }
}

function piece(found) {
  switch (found.type) {
    case "text":
      return styled(unescaped(found.text), found.style);
    case "link":
      return link(found.url, styled(unescaped(found.text ?? found.url), found.style));
    case "date":
      return date(found.timestamp, found.format, found.fallback);
    case "emoji":
      return `:${found.name}:`;
    case "user":
      return el("span", { class: "mention" }, "@somebody");
    default:
      return unknown(found);
  }
}

function styled(text, style = {}) {
  let made = document.createTextNode(text);
  for (const [name, tag] of [["bold", "b"], ["italic", "i"], ["strike", "s"], ["code", "code"]]) {
    if (style[name]) made = el(tag, {}, made);
  }
  return made;
}

function element(found) {
  switch (found.type) {
    case "button":
      return el("span", { class: "button", "data-style": found.style }, textOf(found.text));
    case "static_select":
    case "external_select":
    case "multi_static_select":
      return el("span", { class: "button select" }, textOf(found.placeholder ?? { text: "Choose" }), " ▾");
    case "overflow":
      return el("span", { class: "button", title: (found.options ?? []).map((each) => each.text.text).join("\n") }, "•••");
    default:
      return unknown(found);
  }
}

function textOf(found) {
  return found.type === "mrkdwn" ? el("span", {}, ...mrkdwn(found.text)) : unescaped(found.text);
}

const MARKUP = /<!date\^(\d+)\^([^|>^]+)(?:\^[^|>]*)?\|([^>]*)>|<(https?:[^|>]+)(?:\|([^>]*))?>|<([@#!][^>]*)>|\*([^*\n]+)\*|(?<!\w)_([^_\n]+)_(?!\w)|~([^~\n]+)~|`([^`\n]+)`/g;

function mrkdwn(text) {
  const made = [];
  let end = 0;
  for (const found of text.matchAll(MARKUP)) {
    made.push(unescaped(text.slice(end, found.index)));
    const [, at, format, fallback, url, label, mention, bold, italic, strike, code] = found;
    if (at !== undefined) made.push(date(Number(at), format, fallback));
    else if (url !== undefined) made.push(link(unescaped(url), unescaped(label ?? url)));
    else if (mention !== undefined) made.push(el("span", { class: "mention" }, mention.split("|").at(-1)));
    else if (bold !== undefined) made.push(el("b", {}, ...mrkdwn(bold)));
    else if (italic !== undefined) made.push(el("i", {}, ...mrkdwn(italic)));
    else if (strike !== undefined) made.push(el("s", {}, ...mrkdwn(strike)));
    else made.push(el("code", {}, unescaped(code)));
    end = found.index + found[0].length;
  }
  return [...made, unescaped(text.slice(end))];
}

function date(seconds, format, fallback) {
  const when = new Date(seconds * 1000);
  const said = {
    ago: () => words.agoInWords(when),
    time: () => when.toLocaleTimeString(undefined, { hour: "numeric", minute: "2-digit" }),
    time_secs: () => when.toLocaleTimeString(),
    date_num: () => when.toISOString().slice(0, 10),
    date_short: () => when.toLocaleDateString(undefined, { month: "short", day: "numeric", year: "numeric" }),
  };
  const long = () => when.toLocaleDateString(undefined, { month: "long", day: "numeric", year: "numeric" });
  const text = (format ?? "").replace(/\{(\w+)\}/g, (_, name) => (said[name.replace("_pretty", "")] ?? long)());
  return el("time", { datetime: when.toISOString(), title: fallback }, text);
}

/** Slack undoes the three escapes that it asks for. */
function unescaped(text) {
  return String(text ?? "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

function unknown(found) {
  return el("span", { class: "unknown" }, String(found.type ?? "block"));
}
