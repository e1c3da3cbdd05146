// Elements without markup: every text is a text node, whatever it holds.

const SVG = "http://www.w3.org/2000/svg";

/** `el("p", {class: "change"}, "text", child)`; an attribute that is null, undefined or false is left out. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A link to another site, if `url` is an ordinary web address; else its text alone. */
export function link(url, ...children) {
  const safe = webAddress(url);
  return safe === null
    ? el("span", {}, ...children)
    : el("a", { href: safe, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

export function webAddress(url) {
  try {
    const parsed = new URL(url);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
