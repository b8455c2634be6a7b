"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)");

  // Figures name the page's style variables where a colour belongs.
  const painted = (value, style, key = "") => {
    if (Array.isArray(value)) return value.map((item) => painted(item, style, key));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, style, k)]));
    const named = typeof value === "string" && value.startsWith("--") && key.endsWith("color");
    return named ? style.getPropertyValue(value).trim() : value;
  };

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    for (const figure of figures) {
      const [data, layout] = [painted(figure.data, style), painted(figure.layout, style)];
      // A finger that drags scrolls the page.
      if (figure.zooms && coarse.matches) layout.dragmode = false;
      Plotly.react(figure.name, data, layout, { displayModeBar: false, responsive: true });
      for (const button of document.querySelectorAll(`[data-whole="${figure.name}"]`)) {
        button.setAttribute("aria-pressed", "false");
      }
    }
  };

  const scaleOf = (name, whole) => {
    const figure = figures.find((one) => one.name === name);
    const ranges = { "xaxis.autorange": true };
    if (whole) Object.assign(ranges, figure.whole);
    else if (figure.layout.yaxis.range) ranges["yaxis.range"] = [...figure.layout.yaxis.range];
    else ranges["yaxis.autorange"] = true;
    // The marks of what is beyond the scale, the last trace, belong to the narrow scale alone.
    const marks = Object.keys(figure.whole).length > 0;
    Plotly.update(name, marks ? { visible: !whole } : {}, ranges, marks ? [figure.data.length - 1] : []);
  };

  const switchScale = (button) => {
    const whole = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(whole));
    scaleOf(button.dataset.whole, whole);
  };

  const resetZoom = (button) => {
    const scale = document.querySelector(`[data-whole="${button.dataset.reset}"]`);
    scaleOf(button.dataset.reset, scale !== null && scale.getAttribute("aria-pressed") === "true");
  };

  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };

  const sortBy = (button) => {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    // A dash is a cell without a value; the interval below a value does not count.
    const key = (row) => {
      const cell = row.cells[header.cellIndex];
      const text = cell.dataset.sort ?? cell.firstChild?.textContent ?? "";
      return text === "–" ? "" : text;
    };
    const rows = [...body.rows].sort((a, b) => {
      if (key(a) === "" || key(b) === "") return compare(key(a), key(b));
      return (down ? -1 : 1) * compare(key(a), key(b));
    });
    body.append(...rows);
  };

  // A table that is cut at the right edge fades there, and a line above it says so.
  const mark = (region) => {
    const hidden = region.scrollWidth - region.clientWidth;
    region.classList.toggle("more", hidden - region.scrollLeft > 2);
    region.previousElementSibling.hidden = hidden <= 2;
  };

  draw();
  dark.addEventListener("change", draw);
  for (const region of document.querySelectorAll(".scroll")) {
    mark(region);
    region.addEventListener("scroll", () => mark(region), { passive: true });
    window.addEventListener("resize", () => mark(region));
  }
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sortBy(button));
  }
  for (const button of document.querySelectorAll("[data-whole]")) {
    button.addEventListener("click", () => switchScale(button));
  }
  for (const button of document.querySelectorAll("[data-reset]")) {
    button.addEventListener("click", () => resetZoom(button));
  }
  document.documentElement.dataset.drawn = "yes";
})();
