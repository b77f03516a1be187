// Profiles: the progress of one that runs, and the flame graph of one that has ended.
// What it draws is told in c2cotel/debug/profile/flame.py. Every page works without this file.
"use strict";
(() => {

const ROW = 22; // pixels
const THINNEST = 1; // pixels; what is thinner shows up when its caller is zoomed in
const MOST_DRAWN = 6000;
const TEXT_FROM = 30; // pixels
const MOST_ABOVE = 5; // rows; of more callers above what is zoomed in, one row tells

const number = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const seconds = (value) => `${number(value, value < 1 ? 3 : value < 100 ? 2 : 0)} s`;
const percent = (value, whole) => `${number(whole ? (100 * value) / whole : 0, 1)} %`;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// [data-profile-state="address"]: asks until the profile has ended.
function follow(element) {
  const page = element instanceof HTMLProgressElement;
  const left = document.querySelector("[data-profile-left]");
  let tries = 0;
  const ask = async () => {
    try {
      const answer = await fetch(element.dataset.profileState, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.status);
      const told = await answer.json();
      tries = 0;
      if (told.state !== "running") {
        if (page) location.reload();
        else element.textContent = "has ended";
        return;
      }
      if (page) {
        element.value = told.seconds - told.left;
        if (left) left.textContent = Math.ceil(told.left);
      } else element.textContent = `for another ${Math.ceil(told.left)} s`;
    } catch (error) {
      if (++tries > 5) return;
    }
    setTimeout(ask, 1000);
  };
  setTimeout(ask, 1000);
}

// A tree of the stacks for which *shown* is true, below what *group* gives for each.
function grow(data, shown, group) {
  const root = { name: "all", value: 0, own: 0, children: new Map(), parent: null, depth: 0, frame: null };
  const child = (parent, key, name, frame) => {
    let node = parent.children.get(key);
    if (!node) {
      node = { name, value: 0, own: 0, children: new Map(), parent, depth: parent.depth + 1, frame };
      parent.children.set(key, node);
    }
    return node;
  };
  for (const stack of data.stacks) {
    if (!shown(stack)) continue;
    const [, , , value, frames] = stack;
    let node = root;
    node.value += value;
    const name = group(stack);
    if (name !== null) {
      node = child(node, `group ${name}`, name, null);
      node.value += value;
    }
    for (const index of frames) {
      node = child(node, index, data.frames[index][0], data.frames[index]);
      node.value += value;
    }
    node.own += value;
  }
  const queue = [root];
  for (const node of queue) {
    // A stable order: the same stacks look the same in the next profile.
    node.list = [...node.children.values()].sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
    node.list.forEach((each, index) => { each.index = index; });
    queue.push(...node.list);
  }
  return root;
}

// Seconds of each package, by where the time itself goes; most first.
function packages(data, shown) {
  const found = new Map();
  for (const stack of data.stacks) {
    const frames = stack[4];
    if (!shown(stack) || !frames.length) continue;
    const name = data.frames[frames[frames.length - 1]][3];
    found.set(name, (found.get(name) || 0) + stack[3]);
  }
  return [...found].sort((a, b) => b[1] - a[1]);
}

class Graph {
  constructor(place, data) {
    this.place = place;
    this.data = data;
    this.hues = this.colours();
    this.searched = [];
    this.build();
    this.change();
    new ResizeObserver(() => {
      if (Math.abs(this.tree.clientWidth - this.width) > 1) this.draw();
    }).observe(this.tree);
  }

  // The packages with most time have colours that differ most; Python's own is grey.
  colours() {
    const hues = new Map();
    const known = new Map(packages(this.data, () => true));
    for (const frame of this.data.frames) if (!known.has(frame[3])) known.set(frame[3], 0);
    for (const name of known.keys()) if (name !== "python") hues.set(name, Math.round((25 + 137.5 * hues.size) % 360));
    return hues;
  }

  build() {
    const { data, place } = this;
    const routes = [...new Set(data.stacks.map((stack) => stack[1]))];
    const named = routes.filter((route) => route !== null).sort();
    this.show = this.select("Show", [
      ...(routes.includes(null) || !named.length ? [["all", "all threads"]] : []),
      ...(named.length ? [["requests", "all requests"]] : []),
      ...named.map((route) => [`route ${route}`, route]),
    ]);
    const first = place.dataset.route ? `route ${place.dataset.route}` : place.dataset.threads;
    if ([...this.show.options].some((option) => option.value === first)) this.show.value = first;
    this.group = this.select("Group by", [
      ["", "nothing"], ["route", "route"], ["thread", "kind of thread"],
      ...(data.processes.length > 1 ? [["process", "process"]] : []),
    ]);
    this.search = make("input", { type: "search", id: "flame-search", autocomplete: "off", spellcheck: "false" });
    this.result = make("span", { class: "muted flame-result", role: "status" });
    this.whole = make("button", { type: "button", class: "btn btn-quiet" }, "Whole graph");
    this.legend = make("ul", { class: "flame-legend", "aria-label": "Packages, by the time in their own code" });
    this.tree = make("div", {
      class: "flame-tree", role: "tree", "aria-label": "Flame graph", "aria-describedby": "flame-keys",
    });
    this.details = make("p", { class: "flame-details" });
    this.note = make("p", { class: "muted small", role: "status" });
    place.replaceChildren(
      make("div", { class: "flame-tools" },
        this.labelled("Show", this.show), this.labelled("Group by", this.group),
        this.labelled("Search", this.search), this.result, this.whole),
      this.details,
      make("div", { class: "flame-box" }, this.tree),
      this.note,
      this.legend,
      make("p", { class: "muted small", id: "flame-keys" },
        "Click a function to zoom in. With the keyboard: arrows move, Enter zooms in, Escape goes back."));
    this.show.addEventListener("change", () => this.change());
    this.group.addEventListener("change", () => this.change());
    this.search.addEventListener("input", () => this.find());
    this.whole.addEventListener("click", () => this.zoom(this.root));
    this.tree.addEventListener("click", (event) => this.at(event, (node) => this.zoom(node)));
    this.tree.addEventListener("mouseover", (event) => this.at(event, (node) => this.tell(node)));
    this.tree.addEventListener("mouseleave", () => this.tell(this.focused));
    this.tree.addEventListener("focusin", (event) => this.at(event, (node) => this.focus(node)));
    this.tree.addEventListener("keydown", (event) => this.key(event));
  }

  select(label, options) {
    const id = `flame-${label.toLowerCase().replace(/\W/g, "-")}`;
    return make("select", { id }, ...options.map(([value, text]) => make("option", { value }, text)));
  }

  labelled(label, control) {
    return make("div", { class: "flame-tool" }, make("label", { for: control.id }, label), control);
  }

  at(event, act) {
    const element = event.target.closest("[role=treeitem]");
    if (element) act(element.node);
  }

  // Another choice of stacks, or of their grouping.
  change() {
    const { data } = this;
    const what = this.show.value;
    const shown = what === "all" ? () => true
      : what === "requests" ? (stack) => stack[1] !== null
        : (stack) => what === `route ${stack[1]}`;
    const groups = {
      "": () => null,
      route: (stack) => stack[1] === null ? "(no request)" : stack[1],
      thread: (stack) => stack[2],
      process: (stack) => data.processes[stack[0]],
    };
    this.root = grow(data, shown, groups[this.group.value]);
    this.root.name = what.startsWith("route ") ? what.slice(6) : this.show.selectedOptions[0].text;
    const used = packages(data, shown);
    this.legend.replaceChildren(...used.slice(0, 12).map(([name, value]) => {
      const swatch = make("span", { class: "flame-swatch" });
      this.colour(swatch, name);
      return make("li", {}, swatch, `${name} ${percent(value, this.root.value)}`);
    }));
    this.zoomed = this.root;
    this.focused = this.root;
    this.find();
  }

  colour(element, name) {
    if (this.hues.has(name)) element.style.setProperty("--hue", this.hues.get(name));
    else element.classList.add("flame-plain");
  }

  zoom(chosen) {
    const node = chosen.unfolds || chosen;
    const inside = this.tree.contains(document.activeElement);
    this.zoomed = node;
    this.focused = node;
    this.find();
    this.tree.parentElement.scrollTop = 0;
    if (inside) this.element(node)?.focus();
  }

  // What is searched is what has all words in its name, place or package.
  find() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { frames } = this.data;
    this.hits = null;
    this.result.textContent = "";
    if (words.length) {
      this.hits = new Set(frames.filter((frame) => {
        const text = `${frame[0]} ${frame[1]} ${frame[3]}`.toLowerCase();
        return words.every((word) => text.includes(word));
      }));
      // The outermost of those that are found has the time of those below it.
      let value = 0;
      const queue = [this.zoomed];
      for (const node of queue) {
        if (this.hits.has(node.frame)) value += node.value;
        else queue.push(...node.list);
      }
      const count = this.hits.size;
      this.result.textContent = `${count} function${count === 1 ? "" : "s"}, ${percent(value, this.zoomed.value)}`;
    }
    this.draw();
  }

  draw() {
    const { tree, zoomed } = this;
    this.width = tree.clientWidth;
    const fragment = document.createDocumentFragment();
    this.above = this.folded(this.path(zoomed));
    const shift = this.above.length - 1 - zoomed.depth;
    let rows = this.above.length;
    let hidden = 0;
    let drawn = 0;
    this.above.forEach((node, row) => fragment.append(this.frame(node, 0, 1, row, node !== zoomed)));
    const queue = [[zoomed, 0]];
    for (const [node, start] of queue) {
      let left = start;
      for (const each of node.list) {
        const width = zoomed.value ? each.value / zoomed.value : 0;
        if (width * this.width >= THINNEST && drawn < MOST_DRAWN) {
          fragment.append(this.frame(each, left, width, each.depth + shift, false));
          queue.push([each, left]);
          rows = Math.max(rows, each.depth + shift + 1);
          drawn += 1;
        } else hidden += 1;
        left += width;
      }
    }
    tree.replaceChildren(fragment);
    tree.style.height = `${rows * ROW}px`;
    tree.classList.toggle("flame-searching", this.hits !== null);
    this.whole.disabled = zoomed === this.root;
    this.note.textContent = hidden ? `${hidden} are too thin to be drawn: zoom in to see them.` : "";
    this.focus(this.element(this.focused) ? this.focused : zoomed);
  }

  path(node) {
    const path = [];
    for (let each = node; each; each = each.parent) path.unshift(each);
    return path;
  }

  // A long path without its middle, which one can come back to by zooming out.
  folded(path) {
    const many = path.length - 2 - MOST_ABOVE;
    if (many < 2) return path;
    const inner = path[many];
    const fold = { ...inner, name: `… ${many} callers`, frame: null, own: 0, unfolds: inner };
    return [path[0], fold, ...path.slice(many + 1)];
  }

  frame(node, left, width, row, above) {
    const element = document.createElement("div");
    const [, place, line, name] = node.frame || [];
    element.node = node;
    node.element = element;
    element.className = "flame-frame";
    if (above) element.classList.add("flame-above");
    if (node.unfolds) element.classList.add("flame-fold");
    if (!node.frame) element.classList.add("flame-plain", "flame-group");
    else this.colour(element, name);
    if (this.hits?.has(node.frame)) element.classList.add("flame-hit");
    element.style.left = `${left * 100}%`;
    element.style.width = `${width * 100}%`;
    element.style.top = `${row * ROW}px`;
    if (width * this.width >= TEXT_FROM) element.textContent = node.name;
    element.setAttribute("role", "treeitem");
    element.setAttribute("tabindex", "-1");
    element.setAttribute("aria-level", row + 1);
    element.setAttribute("aria-label",
      `${node.name}, ${percent(node.value, this.root.value)}, ${seconds(node.value)}${place ? `, ${place}:${line}` : ""}`);
    return element;
  }

  element(node) {
    return node.element?.isConnected ? node.element : null;
  }

  // Of all, one can be reached with Tab.
  focus(node) {
    this.element(this.focused)?.setAttribute("tabindex", "-1");
    this.focused = node;
    this.element(node)?.setAttribute("tabindex", "0");
    this.tell(node);
  }

  tell(node) {
    const whole = this.root.value;
    const [, place, line, name] = node.frame || [];
    this.details.replaceChildren(
      make("strong", { class: "mono" }, node.name),
      ` ${percent(node.value, whole)} · ${seconds(node.value)}`,
      ...(node.own ? [` · itself ${percent(node.own, whole)}`] : []),
      ...(this.zoomed !== this.root && node.depth >= this.zoomed.depth ? [` · ${percent(node.value, this.zoomed.value)} of what is zoomed in`] : []),
      make("span", { class: "small mono" }, place ? `${place}:${line} (${name})` : "\u00a0"));
  }

  key(event) {
    const node = this.focused;
    const drawn = (list) => list.find((each) => this.element(each));
    const siblings = node.parent ? node.parent.list : [node];
    const row = this.above.indexOf(node);
    const next = {
      ArrowUp: () => row < 0 ? node.parent : this.above[row - 1],
      ArrowDown: () => row >= 0 && node !== this.zoomed ? this.above[row + 1] : drawn(node.list),
      ArrowRight: () => row < 0 && drawn(siblings.slice(node.index + 1)),
      ArrowLeft: () => row < 0 && drawn(siblings.slice(0, node.index).reverse()),
      Home: () => this.root,
    }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (next) {
      const found = next();
      if (found) this.element(found)?.focus();
    } else if (event.key === "Enter" || event.key === " ") this.zoom(node);
    else if (event.key === "Escape") {
      if (this.zoomed === this.root) return;
      this.zoom(this.zoomed.parent);
    } else return;
    event.preventDefault();
  }
}

async function graph(place) {
  const hint = place.querySelector("[data-flame-hint]");
  hint.textContent = "It is being loaded…";
  try {
    const answer = await fetch(place.dataset.flame, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`the answer is ${answer.status}`);
    new Graph(place, await answer.json());
  } catch (error) {
    hint.textContent = `It cannot be drawn: ${error.message}. The tables below have the same.`;
    throw error;
  }
}

for (const element of document.querySelectorAll("[data-profile-state]")) follow(element);
for (const place of document.querySelectorAll("[data-flame]")) graph(place);

})();
