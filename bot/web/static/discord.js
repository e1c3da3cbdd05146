// Discord's messages, drawn as far as the service uses them: content, embeds, buttons and selects.

import { el, link } from "./dom.js";
import * as words from "./words.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link" };

const TIMES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};

/** The message first, then its thread. */
export function thread(rendered) {
  const [message, ...replies] = rendered;
  return el("div", { class: "discord" },
    messageOf(message),
    replies.length === 0 ? null : el("details", { class: "replies" },
      el("summary", {}, `Thread · ${words.counted(replies.length, "message")}`), ...replies.map(messageOf)));
}

function messageOf(message) {
  const embeds = message.embeds ?? (message.embed ? [message.embed] : []);
  return el("div", { class: "said" }, el("img", { src: "/static/icon.svg", alt: "", width: 38, height: 38 }),
    el("div", { class: "body" },
      el("div", { class: "from" }, el("b", {}, "Tocsin"), el("span", { class: "app" }, "APP")),
      message.content ? el("div", { class: "content", dir: "auto" }, ...lines(message.content)) : null,
      ...embeds.map(embed),
      ...(message.components ?? []).map(component)));
}

function embed(found) {
  const made = el("div", { class: "embed" },
    found.author ? el("div", { class: "author" }, found.author.name) : null,
    found.title ? el("div", { class: "title", dir: "auto" }, ...found.url
      ? [link(found.url, ...inline(found.title))] : inline(found.title)) : null,
    found.description ? el("div", { class: "description", dir: "auto" }, ...lines(found.description)) : null,
    found.fields?.length ? el("div", { class: "fields" }, ...found.fields.map((field) =>
      el("div", { class: field.inline ? "inline" : "wide" }, el("b", {}, ...inline(field.name)),
        el("div", { dir: "auto" }, ...lines(field.value))))) : null,
    found.footer || found.timestamp ? el("div", { class: "footer" }, found.footer?.text ?? "",
      found.timestamp ? ` • ${new Date(found.timestamp).toLocaleString()}` : "") : null);
  if (Number.isInteger(found.color)) made.style.borderLeftColor = `#${found.color.toString(16).padStart(6, "0")}`;
  return made;
}

function component(found) {
  switch (found.type) {
    case 1:
      return el("div", { class: "actions" }, ...found.components.map(component));
    case 2:
      return el("span", { class: "button", "data-style": STYLES[found.style] }, found.emoji?.name ?? "",
        found.emoji?.name && found.label ? " " : "", found.label ?? "");
    case 3:
      return el("span", { class: "button select" }, found.placeholder ?? "Make a selection", " ▾");
    default:
      return el("span", { class: "unknown" }, `component ${found.type}`);
  }
}

function lines(text) {
  return text.split("\n").map((line) => {
    if (line.startsWith("> ")) return el("blockquote", {}, ...inline(line.slice(2)));
    if (line.startsWith("-# ")) return el("small", {}, ...inline(line.slice(3)));
    return el("p", {}, ...inline(line));
  });
}

const MARKUP = /\\([^\w\s])|\*\*(.+?)\*\*|__(.+?)__|~~(.+?)~~|`([^`]+)`|\*([^*]+)\*|\[((?:\\.|[^\]\\])+)\]\((https?:[^)\s]+)\)|<t:(\d+)(?::(\w))?>/g;

function inline(text) {
  const made = [];
  let end = 0;
  for (const found of text.matchAll(MARKUP)) {
    made.push(text.slice(end, found.index));
    const [, escaped, bold, under, strike, code, italic, label, url, at, style] = found;
    if (escaped !== undefined) made.push(escaped);
    else if (bold !== undefined) made.push(el("b", {}, ...inline(bold)));
    else if (under !== undefined) made.push(el("u", {}, ...inline(under)));
    else if (strike !== undefined) made.push(el("s", {}, ...inline(strike)));
    else if (code !== undefined) made.push(el("code", {}, code));
    else if (italic !== undefined) made.push(el("i", {}, ...inline(italic)));
    else if (url !== undefined) made.push(link(url, ...inline(label)));
    else made.push(time(Number(at), style));
    end = found.index + found[0].length;
  }
  return [...made, text.slice(end)];
}

function time(seconds, style) {
  const when = new Date(seconds * 1000);
  const said = style === "R" ? words.agoInWords(when) : when.toLocaleString(undefined, TIMES[style] ?? TIMES.f);
  return el("time", { datetime: when.toISOString(), title: when.toLocaleString() }, said);
}
