// Turns the static picture of `to_html` into one that can be searched and clicked. Needs no network.
// Without it (scripts removed) the image and the list stay as they are.
(function () {
  "use strict";
  const here = document.currentScript && document.currentScript.closest(".dl-graph");
  const roots = here ? [here] : document.querySelectorAll(".dl-graph:not([data-live])");
  roots.forEach(function (root) {
    const image = root.querySelector("img");
    const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (c) => c.charCodeAt(0));
    const text = new TextDecoder().decode(bytes);
    const svg = document.importNode(
      new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
    const list = root.querySelector("details");
    const rows = Array.from(list.querySelectorAll("[data-b]"));
    const layers = Array.from(svg.querySelectorAll(":scope > g"));
    const paths = Array.from(layers[0].children);
    const boxes = Array.from(layers[1].children).concat(
      root.dataset.chips ? Array.from(layers[2].querySelectorAll(":scope > g")) : []);
    const links = root.dataset.links.split(" ").filter(Boolean)
      .map((pair) => pair.split("-").map(Number));
    const words = rows.map((row) =>
      (row.textContent + " " + (row.children[1].title || "")).toLowerCase());

    const make = (tag, name, content) => {
      const element = document.createElement(tag);
      element.className = name;
      element.textContent = content;
      return element;
    };
    const bar = make("div", "dl-bar", "");
    const field = make("input", "", "");
    field.type = "search";
    field.placeholder = "Search " + rows.length + " steps";
    field.setAttribute("aria-label", "Search the steps");
    const found = make("span", "", "");
    found.setAttribute("role", "status");
    const size = make("button", "", "Actual size");
    size.type = "button";
    bar.append(field, found, size);
    const note = make("div", "dl-note", "");
    note.hidden = true;

    let chosen = -1;
    let hits = [];
    let at = -1;

    // A box and all that it needs (from 1 to 0), or all that needs it (from 0 to 1).
    function connected(box, from, to) {
      const seen = new Set([box]);
      seen.forEach((one) => links.forEach((link) => {
        if (link[from] === one) seen.add(link[to]);
      }));
      return seen;
    }

    function paint(isBright, isLit) {
      boxes.forEach((box, i) => {
        box.classList.toggle("dl-dim", !isBright(i));
        box.classList.toggle("dl-on", i === chosen);
        box.setAttribute("aria-pressed", String(i === chosen));
      });
      paths.forEach((path, i) => path.classList.toggle("dl-dim", !isLit(i)));
      // Several edges share a trunk: what is lit must lie on top.
      layers[0].append(...paths.filter((_, i) => !isLit(i)), ...paths.filter((_, i) => isLit(i)));
    }

    function search() {
      const query = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (chosen >= 0) choose(-1);
      const matching = rows.filter((row, i) => {
        row.hidden = !query.every((word) => words[i].includes(word));
        return !row.hidden;
      });
      const bright = new Set(matching.map((row) => Number(row.dataset.b)));
      hits = query.length ? Array.from(bright) : [];
      at = -1;
      found.textContent = query.length ? matching.length + " of " + rows.length + " steps" : "";
      list.open = query.length > 0;
      paint((i) => !query.length || bright.has(i), () => !query.length);
    }

    // Shows what a box stands for beside it, and what it needs and is needed by.
    function choose(box) {
      chosen = box;
      note.hidden = box < 0;
      if (box < 0) {
        paint(() => true, () => true);
        return;
      }
      if (field.value) {
        field.value = "";
        search();
        chosen = box;
        note.hidden = false;
      }
      const needs = connected(box, 1, 0);
      const users = connected(box, 0, 1);
      paint((i) => needs.has(i) || users.has(i), (i) =>
        (needs.has(links[i][0]) && needs.has(links[i][1])) ||
        (users.has(links[i][0]) && users.has(links[i][1])));
      const inside = rows.filter((row) => Number(row.dataset.b) === box);
      note.textContent = "";
      if (inside.length > 1) {
        note.append(make("b", "", inside.length + " steps"));
        inside.forEach((row) => {
          const copy = row.cloneNode(true);
          copy.hidden = false;
          note.append(copy);
        });
      } else {
        note.append(make("div", "dl-text", boxes[box].querySelector("title").textContent));
      }
      note.append(make("div", "dl-count",
        "needs " + (needs.size - 1) + ", needed by " + (users.size - 1) + " of the other boxes"));
      const frame = root.getBoundingClientRect();
      const place = boxes[box].getBoundingClientRect();
      const left = Math.min(place.left - frame.left, frame.width - note.offsetWidth - 4);
      const isLow = (place.top + place.bottom) / 2 > (frame.top + frame.bottom) / 2;
      note.style.left = Math.max(0, left) + "px";
      note.style.top = isLow ? "" : place.bottom - frame.top + 6 + "px";
      note.style.bottom = isLow ? frame.bottom - place.top + 6 + "px" : "";
    }

    boxes.forEach((box, i) => {
      box.setAttribute("tabindex", "0");
      box.setAttribute("role", "button");
      box.setAttribute("aria-label", box.querySelector("title").textContent);
      box.addEventListener("click", (event) => {
        event.stopPropagation();
        choose(i === chosen ? -1 : i);
      });
      box.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          event.stopPropagation();
          choose(i === chosen ? -1 : i);
        }
      });
    });
    svg.addEventListener("click", () => choose(-1));
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") choose(-1);
    });
    field.addEventListener("input", search);
    field.addEventListener("keydown", (event) => {
      // The notebook must not take it for its own shortcuts.
      event.stopPropagation();
      if (event.key === "Enter" && hits.length) {
        at = (at + 1) % hits.length;
        boxes[hits[at]].scrollIntoView({ block: "center", inline: "center" });
      } else if (event.key === "Escape") {
        field.value = "";
        search();
      }
    });
    size.addEventListener("click", () => {
      choose(-1);
      size.textContent = svg.classList.toggle("dl-full") ? "Fit width" : "Actual size";
    });

    const view = image.parentNode;
    view.replaceChild(svg, image);
    root.prepend(make("style", "", root.dataset.css), bar, list);
    root.append(note);
    size.hidden = svg.viewBox.baseVal.width <= view.clientWidth;
    // What fits on a screen needs no search, and clicking shows the rest.
    field.hidden = list.hidden = rows.length < 30;
    bar.hidden = field.hidden && size.hidden;
    root.dataset.live = "true";
  });
})();
