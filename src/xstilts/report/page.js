"use strict";
// Tables sort by a column. A sign of a curve says its value under the pointer, or by arrow keys in a curve that has the
// focus. The explorer draws the gain over chosen languages by a chosen metric at a chosen layer. Without scripts the page
// has every table and figure as it is.
(() => {
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // -- tables -------------------------------------------------------------------------------------------

  const number = cell => {
    const found = /^[+-]?[\d,]*\.?\d+/.exec(cell.textContent.trim().replace("\u2212", "-"));
    return found ? parseFloat(found[0].replaceAll(",", "")) : NaN;
  };
  const sort = (table, column, up) => {
    for (const body of table.tBodies) {
      const title = [...body.rows].filter(row => row.cells.length < table.tHead.rows[0].cells.length);
      const rows = [...body.rows].filter(row => !title.includes(row));
      const means = rows.filter(row => row.querySelector("th > strong"));
      const others = rows.filter(row => !means.includes(row));
      const numeric = others.some(row => !Number.isNaN(number(row.cells[column])));
      others.sort((a, b) => {
        const [one, other] = [a.cells[column], b.cells[column]];
        if (!numeric) return (up ? 1 : -1) * one.textContent.localeCompare(other.textContent);
        const [x, y] = [number(one), number(other)];
        return Number.isNaN(x) - Number.isNaN(y) || (up ? 1 : -1) * (x - y) || 0;
      });
      body.append(...title, ...others, ...means);
    }
  };
  for (const table of document.querySelectorAll("table")) {
    if (![...table.tBodies].some(body => body.rows.length > 2)) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", title: "Sort by this column" }, ...head.childNodes);
      button.addEventListener("click", () => {
        const up = head.ariaSort === "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sort(table, column, up);
      });
      head.append(button);
    });
  }

  // -- values of a curve --------------------------------------------------------------------------------

  const tip = make("div", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const SIGNS = ".mark, .dot, .cross";
  const texts = new WeakMap();
  const signs = curve => [...curve.querySelectorAll(SIGNS)].filter(sign => texts.has(sign));
  const ready = curve => { // a title would show a second box, so the text moves out of it
    for (const sign of curve.querySelectorAll(SIGNS)) {
      const title = sign.querySelector("title");
      if (!title) continue;
      texts.set(sign, title.textContent);
      title.remove();
    }
    curve.setAttribute("tabindex", "0");
    curve.addEventListener("pointerover", event => show(event.target));
    curve.addEventListener("pointerleave", () => show(null));
    curve.addEventListener("blur", () => show(null));
    curve.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") show(null);
      if (!step) return;
      event.preventDefault();
      const all = signs(curve), at = all.findIndex(sign => sign.classList.contains("shown"));
      show(all[at < 0 ? (step > 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length]);
    });
  };
  const show = sign => {
    for (const old of document.querySelectorAll(".shown")) old.classList.remove("shown");
    const text = sign && texts.get(sign);
    tip.hidden = !text;
    if (!text) return;
    sign.classList.add("shown");
    tip.textContent = text;
    const box = sign.getBoundingClientRect(), room = document.documentElement.clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(4, Math.min(box.left + 10, room))}px`;
    tip.style.top = `${box.top - tip.offsetHeight - 6 < 0 ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  };
  document.querySelectorAll("svg.curve").forEach(ready);

  // -- statistics ---------------------------------------------------------------------------------------

  const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
  const quantiles = new Map();
  const quantile = freedom => { // t of 95 %, two-sided: t = sqrt(freedom) tan(x), of which cos(x)^(freedom-1) is the density
    if (!quantiles.has(freedom)) {
      const steps = 20000, width = Math.PI / 2 / steps, mass = i => Math.cos((i + .5) * width) ** (freedom - 1);
      let whole = 0, sum = 0, i = 0;
      for (let j = 0; j < steps; j++) whole += mass(j);
      while (sum + mass(i) < .95 * whole) sum += mass(i++);
      quantiles.set(freedom, Math.sqrt(freedom) * Math.tan((i + (.95 * whole - sum) / mass(i)) * width));
    }
    return quantiles.get(freedom);
  };
  const summary = (runs, bases, existing) => { // as estimates.change, without an interval where not all runs cross or all agree
    if (!runs.length) return null;
    const middle = mean(runs.map(run => run.gain));
    const seeds = [...new Set(runs.map(run => run.pair))], subsets = [...new Set(runs.map(run => run.subset))];
    const at = (subset, pair) => {
      const own = runs.filter(run => run.subset === subset && run.pair === pair);
      return own.length ? mean(own.map(run => run.score)) : null;
    };
    const own = runs.length === seeds.length && runs.length === subsets.length; // of each run alone
    const level = own ? [runs.map(run => run.score)] : subsets.map(subset => seeds.map(pair => at(subset, pair)));
    const alone = bases.length === 1 && bases[0].pair === null;
    const before = seeds.map(pair => (alone ? bases[0] : bases.find(base => base.pair === pair))?.score ?? null);
    const [S, R] = [level.length, seeds.length];
    if (R < 2 || [...level.flat(), ...before].includes(null)) return { middle, half: null };
    const square = (values, about = mean(values)) => values.reduce((sum, value) => sum + (value - about) ** 2, 0);
    const columns = seeds.map((_, r) => mean(level.map(line => line[r])));
    const ofSeeds = square(columns.map((value, r) => value - before[r])) / (R - 1) / R;
    let ofSubsets = 0, squares = 0;
    if (S > 1 && S < existing) {
      const means = level.map(mean), grand = mean(means);
      const between = R * square(means) / (S - 1);
      const rest = level.flatMap((line, s) => line.map((value, r) => value - means[s] - columns[r] + grand));
      const residual = square(rest, 0) / (S - 1) / (R - 1), factor = (1 - S / existing) / S / R;
      ofSubsets = factor * (between - residual);
      squares = factor ** 2 * (between ** 2 + residual ** 2 / (R - 1)) / (S - 1);
    }
    const whole = ofSeeds + Math.max(0, ofSubsets);
    const freedom = Math.max(whole ** 2 / (ofSeeds ** 2 / (R - 1) + squares), Math.min(R, S) - 1);
    return { middle, half: whole > 1e-20 ? quantile(ofSubsets > 0 ? freedom : R - 1) * Math.sqrt(whole) : null };
  };

  // -- the explorer -------------------------------------------------------------------------------------

  const source = document.getElementById("cells");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const figure = document.querySelector("figure.explorer");
  const svg = (name, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const select = (label, values, chosen, changed, name = String) => { // none where there is nothing to choose
    const field = make("select", {}, ...values.map((one, value) => make("option", { value, textContent: name(one) })));
    field.value = Math.max(0, values.indexOf(chosen));
    field.addEventListener("change", () => changed(values[+field.value]));
    return make("label", { hidden: values.length < 2 }, `${label} `, field);
  };
  const each = (of, key) => [...new Set(of.map(key))];
  const controls = make("div", { className: "controls" });
  const drawing = make("div", { className: "scroll" });
  const said = make("p", { className: "said" });
  said.setAttribute("role", "status");
  let place = null, boxes = [], now = null;

  const target = (name, metric) => {
    const own = data.targets.filter(one => one.name === name);
    now = own.find(one => one.metric === metric) ?? own[0];
    place = [...now.places[now.start]];
    const part = (label, at, name) =>
      select(label, each(now.places, one => one[at]), place[at], value => { place[at] = value; draw(); }, name);
    const cells = [part("layer", 0), part("pooling", 1), part("direction", 2)];
    const labels = [select("target", each(data.targets, one => one.name), name, value => target(value, now.metric)),
      select("metric", own.map(one => one.metric), now.metric, value => target(name, value))];
    boxes = now.languages.map(code => {
      const box = make("input", { type: "checkbox", checked: true, value: code });
      box.addEventListener("change", draw);
      return box;
    });
    const scripts = [...new Set(now.languages.map(code => data.languages[code][1]))];
    const choose = (text, wanted) => {
      const button = make("button", { type: "button", textContent: text });
      button.addEventListener("click", () => {
        for (const box of boxes) box.checked = wanted(box.value);
        draw();
      });
      return button;
    };
    const choices = make("div", {}, choose("all languages", () => true), choose("all but English", code => code !== "en"),
      ...(scripts.length > 1 ? scripts.map(script => choose(script, code => data.languages[code][1] === script)) : []));
    const named = boxes.map(box => make("label", { title: data.languages[box.value].join(", ") }, box, ` ${box.value}`));
    const languages = make("fieldset", {}, make("legend", { textContent: "languages" }), choices, ...named);
    const held = [...controls.children].findIndex(one => one.contains(document.activeElement));
    controls.replaceChildren(...labels, ...cells, languages);
    controls.children[held]?.querySelector("select")?.focus();
    draw();
  };

  const draw = () => {
    const chosen = boxes.flatMap((box, at) => box.checked ? [at] : []);
    const at = now.places.findIndex(one => one.every((value, part) => value === place[part]));
    if (at < 0) {
      said.textContent = "This was not measured, or left out of the page for its size.";
      drawing.replaceChildren();
      return;
    }
    const values = now.values[at];
    const averages = values.map(of => chosen.length && chosen.every(at => of[at] !== null)
      ? mean(chosen.map(at => of[at])) / 100 : null);
    const bases = now.runs.map(([, k, , , , pair], at) => ({ k, pair, score: averages[at] }))
      .filter(one => one.k === 0 && one.score !== null);
    const base = bases.length && bases.length >= now.planned ? mean(bases.map(one => one.score)) : null;
    const groups = new Map();
    let lacking = 0;
    now.runs.forEach(([name, k, seed, collapsed, subset, pair], at) => {
      if (averages[at] === null) { lacking++; return; }
      if (k === 0 || base === null) return;
      if (!groups.has(k)) groups.set(k, []);
      groups.get(k).push({ name, seed, collapsed, subset, pair, score: averages[at], gain: averages[at] - base });
    });
    const found = [...groups].sort((a, b) => a[0] - b[0])
      .map(([k, runs]) => ({ k, runs, ...summary(runs, bases, now.existing[k]) }));
    const points = value => {
      const text = value.toFixed(1);
      return +text === 0 ? "0.0" : `${value > 0 ? "+" : ""}${text}`;
    };
    const interval = one => one.half === null ? "" :
      `, 95 % interval ${points(one.middle - one.half)} to ${points(one.middle + one.half)}`;
    const text = one => `k = ${one.k}: ${points(one.middle)} points${interval(one)}, ${one.runs.length} run${one.runs.length === 1 ? "" : "s"}`;
    said.textContent = !chosen.length ? "Choose a language."
      : base === null ? "No gain can be stated: k = 0 lacks one of these languages here."
        : `${now.name} by ${now.metric}, ${chosen.length} of ${now.languages.length} languages. ${found.map(text).join("; ")}.`
          + (lacking ? ` Left out: ${lacking} run${lacking === 1 ? " that lacks" : "s that lack"} one of these languages.` : "");
    if (!found.length) { drawing.replaceChildren(); return; }
    const all = [0, ...found.flatMap(one => [one.middle + (one.half ?? 0), one.middle - (one.half ?? 0),
      ...one.runs.map(run => run.gain)])];
    let low = Math.min(...all), high = Math.max(...all);
    const pad = Math.max((2 - (high - low)) / 2, .06 * (high - low));
    low -= pad; high += pad;
    const width = 420, height = 220, y = value => height * (1 - (value - low) / (high - low));
    const ks = [0, ...found.map(one => one.k)], x = k => width * (ks.indexOf(k) + .5) / ks.length;
    const panel = svg("g", { transform: "translate(52 10)" });
    const power = 10 ** Math.floor(Math.log10((high - low) / 4));
    const step = power * [1, 2, 5, 10].find(times => (high - low) / (power * times) <= 8);
    for (let tick = Math.ceil(low / step); tick <= high / step; tick++) {
      panel.append(svg("path", { class: tick ? "grid" : "edge", d: `M0 ${y(tick * step)}H${width}` }),
        svg("text", { class: "y", x: -7, y: y(tick * step) + 4 }, `${+(tick * step).toFixed(6)}`));
    }
    for (const k of ks) panel.append(svg("text", { class: "k", x: x(k), y: height + 18 }, `${k}`));
    panel.append(svg("text", { class: "axis", x: width / 2, y: height + 36 }, "number of intermediate tasks, k"),
      svg("text", { class: "axis", transform: `translate(-38 ${height / 2}) rotate(-90)` }, "gain in points"),
      svg("path", { class: "line c0 main", d: `M${x(0)} ${y(0)}${found.map(one => `L${x(one.k)} ${y(one.middle)}`).join("")}` }));
    for (const one of found) {
      if (one.half !== null) {
        panel.append(svg("path", { class: "whisker c0", d: `M${x(one.k)} ${y(one.middle + one.half)}V${y(one.middle - one.half)}` }));
      }
      panel.append(svg("circle", { class: "mark c0", cx: x(one.k), cy: y(one.middle), r: 4.5 }, svg("title", {}, text(one))));
      one.runs.forEach((run, at) => {
        const cx = x(one.k) + 7 + 12 * at / one.runs.length, cy = y(run.gain);
        const title = svg("title", {}, `${run.name}, seed ${run.seed}: ${points(run.gain)} points`);
        panel.append(run.collapsed
          ? svg("path", { class: "cross c0", transform: `translate(${cx} ${cy})`, d: "M-3-3L3 3M-3 3L3-3" }, title)
          : svg("circle", { class: "dot c0", cx, cy, r: 2.6 }, title));
      });
    }
    const size = { width: width + 66, height: height + 60, viewBox: `0 0 ${width + 66} ${height + 60}` };
    const curve = svg("svg", { class: "curve gain", role: "img", "aria-label": said.textContent, ...size }, panel);
    ready(curve);
    drawing.replaceChildren(curve);
  };

  figure.prepend(make("h3", { textContent: "Look closer" }), controls, drawing, said);
  figure.hidden = false;
  target(data.targets[0].name);
})();
