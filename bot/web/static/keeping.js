// Where a reader is in an event, kept while a new revision of it takes the place of the last one.
//
// An element is known again by what it is and by the nearest `data-key` around it.

const FOCUSABLE = "a[href], button, summary, h2[tabindex]";

/** What is open, what has the focus, and how far from the pane's upper edge the first thing begins that begins in it. */
export function note(root) {
  const pane = root.parentElement;
  const edge = pane.getBoundingClientRect().top;
  const top = [...root.querySelectorAll("[data-key]")].find((part) => part.getBoundingClientRect().top >= edge);
  return {
    opened: named(root, "details").filter(({ element }) => element.open).map(({ name }) => name),
    focused: named(root, FOCUSABLE).find(({ element }) => element === document.activeElement)?.name,
    inside: root.contains(document.activeElement),
    scrolled: pane.scrollTop,
    top: top && { key: top.dataset.key, at: top.getBoundingClientRect().top },
  };
}

export function restore(root, left) {
  for (const { name, element } of named(root, "details")) element.open = left.opened.includes(name);
  if (left.inside) {
    const same = named(root, FOCUSABLE).find(({ name }) => name === left.focused)?.element;
    (same ?? root.querySelector("h2")).focus({ preventScroll: true });
  }
  const pane = root.parentElement;
  pane.scrollTop = left.scrolled;
  const top = [...root.querySelectorAll("[data-key]")].find((part) => part.dataset.key === left.top?.key);
  if (left.scrolled > 0 && top) pane.scrollTop += top.getBoundingClientRect().top - left.top.at;
}

/** Each with a name that another revision gives to the same thing; the n-th of several alike stays the n-th. */
function named(root, selector) {
  const alike = new Map();
  return [...root.querySelectorAll(selector)].map((element) => {
    const around = element.closest("[data-key]")?.dataset.key ?? "";
    const what = element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.classList[0] ?? "";
    const same = `${around} ${element.localName} ${what}`;
    const at = alike.get(same) ?? 0;
    alike.set(same, at + 1);
    return { name: `${same} ${at}`, element };
  });
}
