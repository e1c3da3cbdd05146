// Single keys that do something wherever the focus is. Who speaks to the machine or hits keys unawares turns them off.

const KEPT = "tocsin.shortcuts"; // in this browser's storage

let on = stored() !== "off";

/** May this key press mean a shortcut? Not where it could be meant for what has the focus. */
export function meant(press) {
  return on && press.target.closest("input, select, textarea, details") === null;
}

/** `box`: the checkbox that turns them on and off. `search`: the field that one of them leads to. */
export function obey(box, search) {
  const show = () => {
    box.checked = on;
    document.body.classList.toggle("without-shortcuts", !on);
    if (on) search.setAttribute("aria-keyshortcuts", "/");
    else search.removeAttribute("aria-keyshortcuts");
  };
  box.addEventListener("change", () => {
    on = box.checked;
    store(on ? "on" : "off");
    show();
  });
  show();
}

function stored() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // the browser keeps nothing here
  }
}

function store(value) {
  try {
    localStorage.setItem(KEPT, value);
  } catch {
    // it holds until the page is left
  }
}
