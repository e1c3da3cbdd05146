// A locator map: the circle that an event lies in, amid coasts, borders and large cities. Nothing is asked of anybody.

import { el, svg } from "./dom.js";
import * as words from "./words.js";

const WIDTH = 640;
const HEIGHT = 400;
const DEGREE_KM = 111.32;
const LEAST_KM = 60; // from the middle to the upper edge
const MOST_KM = 9_000;
const CONTEXT = 3.2; // radii
const CITIES = 9;

let world = null; // countries with rings in degrees and their bounds; made when first needed

/** A figure; empty where there is no place. */
export function make(place, level) {
  if (place === null) return el("p", { class: "map none" }, "None of the posts says where, or not surely enough.");
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
    "aria-label": `Map: ${words.place(place)}, ${place.lat.toFixed(2)}°, ${place.lon.toFixed(2)}°` });
  let half = Math.min(MOST_KM, Math.max(260, place.radius_km * CONTEXT));
  const zoomed = (factor) => async () => {
    half = Math.min(MOST_KM, Math.max(LEAST_KM, half * factor));
    await draw(drawing, place, half);
  };
  const button = (label, sign, factor) =>
    el("button", { type: "button", "aria-label": label, title: label, onclick: zoomed(factor) }, sign);
  const figure = el("figure", { class: "map", "data-level": level, "data-place": JSON.stringify(place) }, drawing,
    el("div", { class: "zoom" }, button("Closer", "+", 0.5), button("Wider", "−", 2)),
    el("figcaption", {}, "Natural Earth, GeoNames"));
  draw(drawing, place, half);
  return figure;
}

/** Is this the place that the map in `root` shows? */
export function stands(root, place) {
  return root.querySelector(".map")?.dataset.place === JSON.stringify(place);
}

async function draw(drawing, place, half) {
  world ??= await load();
  const narrow = Math.max(0.2, Math.cos((place.lat * Math.PI) / 180));
  const scale = HEIGHT / 2 / (half / DEGREE_KM); // pixels a degree of latitude
  const x = (lon) => WIDTH / 2 + (lon - place.lon) * narrow * scale;
  const y = (lat) => HEIGHT / 2 - (lat - place.lat) * scale;
  const across = WIDTH / 2 / scale / narrow;
  const up = HEIGHT / 2 / scale;
  const window = [place.lon - across, place.lat - up, place.lon + across, place.lat + up];
  drawing.replaceChildren(
    svg("rect", { class: "sea", width: WIDTH, height: HEIGHT }),
    svg("path", { class: "land", d: land(window, x, y) }),
    ...countryNames(window, x, y),
    ...circle(place, scale),
    ...cityNames(place, window, x, y),
    scaleBar(scale),
  );
}

async function load() {
  const { arcs, countries, cities } = await import("./outlines.js");
  const lines = arcs.map((deltas) => {
    const points = [];
    let [lon, lat] = [0, 0];
    for (let at = 0; at < deltas.length; at += 2) {
      lon += deltas[at];
      lat += deltas[at + 1];
      points.push([lon / 100, lat / 100]);
    }
    return points;
  });
  const rings = (ids) => ids.flatMap((id, at) => {
    const line = id < 0 ? [...lines[~id]].reverse() : lines[id];
    return at === 0 ? line : line.slice(1);
  });
  return {
    countries: countries.map(([name, parts]) => ({ name, rings: parts.map((ids) => bounded(rings(ids))) })),
    cities: cities.map(([name, lat, lon]) => ({ name, lat: lat / 100, lon: lon / 100 })),
  };
}

function bounded(points) {
  const lons = points.map(([lon]) => lon);
  const lats = points.map(([, lat]) => lat);
  return { points, bounds: [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)] };
}

const TURNS = [-360, 0, 360]; // the window may lie across the date line

function meet(bounds, window, turn) {
  return bounds[0] + turn < window[2] && bounds[2] + turn > window[0] && bounds[1] < window[3] && bounds[3] > window[1];
}

function land(window, x, y) {
  const path = [];
  for (const { rings } of world.countries) {
    for (const { points, bounds } of rings) {
      for (const turn of TURNS) {
        if (!meet(bounds, window, turn)) continue;
        path.push(`M${points.map(([lon, lat]) => `${x(lon + turn).toFixed(1)},${y(lat).toFixed(1)}`).join("L")}Z`);
      }
    }
  }
  return path.join("");
}

/** Each in the middle of what can be seen of its largest part, where there is room. */
function countryNames(window, x, y) {
  const labels = [];
  for (const { name, rings } of world.countries) {
    const middles = rings.map(({ points, bounds }) => middleOf(points, bounds, window)).filter((each) => each !== null);
    const middle = middles.sort((one, other) => other.room - one.room)[0];
    if (middle === undefined) continue;
    const at = [x(middle.lon), y(middle.lat)];
    const long = name.length * 7.5;
    if (long > x(middle.lon + middle.room) - x(middle.lon - middle.room)) continue;
    if (Math.hypot(at[0] - WIDTH / 2, at[1] - HEIGHT / 2) < 46) continue;
    labels.push(svg("text", { class: "country", x: at[0], y: at[1] }, name.toUpperCase()));
  }
  return labels;
}

/** The point of a coarse grid over the window that lies deepest inside the ring. */
function middleOf(points, bounds, window) {
  if (!meet(bounds, window, 0)) return null;
  const [west, south] = [Math.max(bounds[0], window[0]), Math.max(bounds[1], window[1])];
  const [east, north] = [Math.min(bounds[2], window[2]), Math.min(bounds[3], window[3])];
  let best = null;
  for (let row = 1; row < 8; row += 1) {
    for (let column = 1; column < 8; column += 1) {
      const lon = west + ((east - west) * column) / 8;
      const lat = south + ((north - south) * row) / 8;
      const crossings = crossingsAt(points, lat);
      const left = crossings.filter((each) => each < lon);
      if (left.length % 2 === 0) continue;
      const right = crossings.find((each) => each >= lon) ?? lon;
      const room = Math.min(lon - Math.max(left.at(-1), window[0]), Math.min(right, window[2]) - lon);
      if (best === null || room > best.room) best = { lon, lat, room };
    }
  }
  return best;
}

/** The longitudes at which a ring crosses a parallel, from west to east. */
function crossingsAt(points, lat) {
  const found = [];
  for (let at = 1; at < points.length; at += 1) {
    const [[lon0, lat0], [lon1, lat1]] = [points[at - 1], points[at]];
    if (lat0 > lat !== lat1 > lat) found.push(lon0 + ((lat - lat0) / (lat1 - lat0)) * (lon1 - lon0));
  }
  return found.sort((one, other) => one - other);
}

function circle(place, scale) {
  const radius = Math.max((place.radius_km / DEGREE_KM) * scale, 3);
  const middle = { cx: WIDTH / 2, cy: HEIGHT / 2 };
  return [
    svg("circle", { class: "around", ...middle, r: Math.max(radius, 9) }),
    svg("circle", { class: "middle", ...middle, r: 4.5 }),
    svg("text", { class: "here", x: WIDTH / 2, y: HEIGHT / 2 - 12 }, place.name),
  ];
}

/** The largest ones whose names do not lie over each other. */
function cityNames(place, window, x, y) {
  const taken = [box(WIDTH / 2, HEIGHT / 2 - 12, place.name.length * 8, true),
    [WIDTH - 170, HEIGHT - 40, WIDTH, HEIGHT], [WIDTH - 70, 0, WIDTH, 110], [0, HEIGHT - 50, 160, HEIGHT]];
  const found = [];
  for (const { name, lat, lon } of world.cities) {
    if (found.length === CITIES) break;
    if (lon < window[0] || lon > window[2] || lat < window[1] || lat > window[3]) continue;
    const [left, top] = [x(lon), y(lat)];
    if (Math.hypot(left - WIDTH / 2, top - HEIGHT / 2) < 16) continue;
    const wide = name.length * 6.6 + 12;
    const flipped = left + wide > WIDTH - 4;
    const room = box(flipped ? left - wide : left, top, wide, false);
    if (room[0] < 2 || room[1] < 2 || room[3] > HEIGHT - 2) continue;
    if (taken.some((other) => overlap(other, room))) continue;
    taken.push(room);
    found.push(svg("circle", { class: "city", cx: left, cy: top, r: 2.4 }), svg("text", { class: "city",
      x: left + (flipped ? -6 : 6), y: top + 4, "text-anchor": flipped ? "end" : "start" }, name));
  }
  return found;
}

function overlap(one, other) {
  return one[0] < other[2] && one[2] > other[0] && one[1] < other[3] && one[3] > other[1];
}

function box(left, top, wide, centred) {
  const from = centred ? left - wide / 2 : left - 4;
  return [from, top - 13, from + wide + 8, top + 10];
}

function scaleBar(scale) {
  const most = (130 / scale) * DEGREE_KM;
  const size = 10 ** Math.floor(Math.log10(most));
  const km = size * [5, 2, 1].find((factor) => size * factor <= most);
  const long = (km / DEGREE_KM) * scale;
  const [left, top] = [14, HEIGHT - 14];
  return svg("g", { class: "scale" }, svg("path", { d: `M${left} ${top - 5}v5h${long}v-5` }),
    svg("text", { x: left, y: top - 9 }, `${km.toLocaleString()} km`));
}
