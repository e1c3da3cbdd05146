// Where a reader is in an event, kept while a new revision of it takes the place of the last one.
//
// A part of the pane is known again by what it is and by the nearest `data-key` around it.

const FOCUSABLE = "a[href], button, summary, h2[tabindex]";

/** What is open, what has the focus, and what stands how high: that itself, or what begins first within the pane. */
export function note(root) {
  const pane = root.parentElement.getBoundingClientRect();
  const parts = named(root);
  const within = ({ element }) => topOf(element) >= pane.top && topOf(element) < pane.bottom;
  const focused = parts.find(({ element }) => element === document.activeElement);
  const moving = parts.filter(({ element }) => element.closest("[data-key]") !== null && element.checkVisibility());
  const seen = moving.filter(within);
  const above = moving.findLast(({ element }) => topOf(element) < pane.top);
  const fixed = seen.find((part) => part === focused) ?? seen[0] ?? above;
  return {
    opened: parts.filter(({ element }) => element.open).map(({ name }) => name),
    focused: focused?.name,
    inside: root.contains(document.activeElement),
    scrolled: root.parentElement.scrollTop,
    fixed: fixed && { name: fixed.name, top: topOf(fixed.element) },
  };
}

export function restore(root, left) {
  const parts = new Map(named(root).map(({ name, element }) => [name, element]));
  for (const name of left.opened) parts.get(name)?.setAttribute("open", "");
  if (left.inside) (parts.get(left.focused) ?? root.querySelector("h2")).focus({ preventScroll: true });
  const pane = root.parentElement;
  pane.scrollTop = left.scrolled;
  const fixed = parts.get(left.fixed?.name);
  if (left.scrolled > 0 && fixed) pane.scrollTop += topOf(fixed) - left.fixed.top;
}

/** Each with a name that another revision gives to the same thing; the n-th of several alike stays the n-th. */
function named(root) {
  const alike = new Map();
  return [...root.querySelectorAll(`[data-key], details, ${FOCUSABLE}`)].map((element) => {
    const around = element.closest("[data-key]")?.dataset.key ?? "";
    const what = element.getAttribute("href") ?? element.getAttribute("aria-label") ?? "";
    const same = `${around} ${element.localName} ${what}`;
    const at = alike.get(same) ?? 0;
    alike.set(same, at + 1);
    return { name: `${same} ${at}`, element };
  });
}

const topOf = (element) => element.getBoundingClientRect().top;
