// The site's one script: tables, plots' highlights, tabs, sliders, comparisons. Without it every
// page is complete. It loads nothing from elsewhere; data come as scripts of the same site.
"use strict";
document.documentElement.classList.add("js");

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};

// ---- The state of a page lives in its address -------------------------------------------------

const address = {
  read: () => new URLSearchParams(location.search),
  write(entries) {
    const query = new URLSearchParams(entries.filter(([, value]) => value !== "" && value !== null));
    const text = query.toString();
    const target = location.pathname + (text ? `?${text}` : "") + location.hash;
    try {
      history.replaceState(null, "", target);
    } catch {
      // Some browsers refuse on file://; the page works on without.
    }
  },
};

// ---- One table --------------------------------------------------------------------------------

const HIDDEN_AT_FIRST = ["tokens", "parameters", "training", "created"];

class Board {
  constructor(table, onChange, onSort) {
    this.table = table;
    this.onChange = onChange;
    this.onSort = onSort;
    this.heads = all("thead th", table);
    this.rows = all("tbody tr", table);
    this.original = [...this.rows];
    this.sort = "";
    this.hidden = new Set(HIDDEN_AT_FIRST);
    this.own = new Map();
    this.heads.forEach((head, index) => this.addButton(head, index));
    this.rows.forEach((row) => this.addBox(row));
  }

  addButton(head) {
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => this.toggle(head));
    head.append(button);
  }

  addBox(row) {
    const name = row.dataset.row;
    const box = make("input", { type: "checkbox", value: name });
    box.setAttribute("aria-label", `Select ${name} to compare`);
    box.addEventListener("change", () => this.onChange());
    row.querySelector("th").prepend(box);
  }

  get selected() {
    return all("tbody input:checked", this.table).map((box) => box.value);
  }

  select(names) {
    all("tbody input", this.table).forEach((box) => (box.checked = names.includes(box.value)));
  }

  // First click: best first (or A to Z); second: the other way; third: the table's own order.
  toggle(head) {
    const key = head.dataset.key;
    const first = head.dataset.better === "higher" || key === "speed" ? "desc" : "asc";
    const second = first === "asc" ? "desc" : "asc";
    const next = { [`${key}:${first}`]: `${key}:${second}`, [`${key}:${second}`]: "" };
    this.onSort(next[this.sort] ?? `${key}:${first}`);
  }

  order(sort) {
    const [key, given] = sort.split(":");
    const index = this.heads.findIndex((head) => head.dataset.key === key);
    const body = this.table.tBodies[0];
    this.heads.forEach((head) => head.removeAttribute("aria-sort"));
    if (index < 0) {
      this.sort = "";
      this.original.forEach((row) => body.append(row));
      return;
    }
    const head = this.heads[index];
    const way = given ?? (head.dataset.better === "higher" ? "desc" : "asc");
    this.sort = `${key}:${way}`;
    head.setAttribute("aria-sort", way === "asc" ? "ascending" : "descending");
    const sign = way === "asc" ? 1 : -1;
    const keyed = this.original.map((row, place) => [sortKey(row.cells[index]), place, row]);
    keyed.sort(([a, i], [b, j]) => {
      // Rows without a value stay last whichever the way.
      if (a === null || b === null) return (a === null) - (b === null) || i - j;
      const difference = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return sign * difference || i - j;
    });
    keyed.forEach(([, , row]) => body.append(row));
  }

  show(hidden) {
    this.hidden = hidden;
    this.heads.forEach((head, index) => {
      const away = hidden.has(head.dataset.key);
      head.hidden = away;
      this.original.forEach((row) => (row.cells[index].hidden = away));
    });
  }

  filter(test) {
    this.original.forEach((row) => (row.hidden = !test(row)));
    return this.original.filter((row) => !row.hidden).length;
  }

  // Values of one group in place of the overall ones, from the board's data file.
  useGroup(group, values) {
    const columns = this.heads.map((head, index) => [head.dataset.metric, index]);
    for (const row of this.original) {
      const found = values?.[row.dataset.row]?.[group];
      for (const [metric, index] of columns) {
        if (metric === undefined) continue;
        const cell = row.cells[index];
        if (!this.own.has(cell)) this.own.set(cell, [[...cell.childNodes], cell.dataset.v, cell.className]);
        const [nodes, value, name] = this.own.get(cell);
        if (!group) {
          cell.replaceChildren(...nodes);
          cell.dataset.v = value;
          cell.className = name;
          continue;
        }
        const [text, spread, number, note] = found?.[metric] ?? ["–", "", null, "not measured for this group"];
        cell.replaceChildren(make("span", { className: "v", title: note }, text));
        if (spread) cell.append(" ", make("span", { className: "pm" }, spread));
        cell.dataset.v = number ?? "";
        cell.className = number === null ? "num m absent" : "num m";
      }
      const rank = row.cells[0];
      if (!this.own.has(rank)) this.own.set(rank, [[...rank.childNodes], rank.dataset.v]);
      const [nodes, value] = this.own.get(rank);
      // Rank ranges belong to the overall value.
      if (group) rank.replaceChildren("–");
      else rank.replaceChildren(...nodes);
      rank.dataset.v = group ? "" : value;
    }
  }

  cellsOfView() {
    const columns = this.heads.map((head, index) => [head, index]).filter(([head]) => !head.hidden && head.dataset.key !== "run");
    const text = (cell) => (cell.querySelector("button") ?? cell).textContent.replace(/\s+/g, " ").trim();
    const rows = all("tbody tr", this.table).filter((row) => !row.hidden);
    return [columns.map(([head]) => text(head)), ...rows.map((row) => columns.map(([, index]) => text(row.cells[index])))];
  }
}

const sortKey = (cell) => {
  if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  const text = cell.textContent.trim();
  if (text === "–" || text === "") return null;
  const plain = Number(text.replaceAll(",", ""));
  return Number.isNaN(plain) ? text.toLowerCase() : plain;
};

// ---- Copies of the current view ---------------------------------------------------------------

const copies = {
  markdown(lines) {
    const safe = (text) => text.replaceAll("|", "\\|");
    const [head, ...rows] = lines.map((line) => `| ${line.map(safe).join(" | ")} |`);
    return [head, `|${lines[0].map(() => "---").join("|")}|`, ...rows].join("\n") + "\n";
  },
  latex(lines) {
    const marks = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
    const safe = (text) =>
      text
        .replace(/[\\~^]|[&%$#_{}]/g, (c) => marks[c] ?? `\\${c}`)
        .replace(/[±×–↑↓]/g, (c) => ({ "±": "$\\pm$", "×": "$\\times$", "–": "--", "↑": "$\\uparrow$", "↓": "$\\downarrow$" })[c]);
    const rows = lines.map((line) => `${line.map(safe).join(" & ")} \\\\`);
    const columns = "l".repeat(lines[0].length);
    return ["\\begin{tabular}{" + columns + "}", "\\hline", rows[0], "\\hline", ...rows.slice(1), "\\hline", "\\end{tabular}"].join("\n") + "\n";
  },
  csv(lines) {
    // A leading quote keeps spreadsheets from reading text as a formula; numbers stay numbers.
    const guard = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
    const safe = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return lines.map((line) => line.map((text) => safe(guard(text))).join(",")).join("\n") + "\n";
  },
};

const copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard without a secure context: the old way still works on file://.
    const area = make("textarea", { value: text, readOnly: true, className: "hidden-text" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};

// ---- A page with filters ----------------------------------------------------------------------

const startBoard = (form) => {
  const values = () => window.medbenchValues?.[boards[0].table.dataset.board] ?? {};
  const sortAll = (sort) => {
    boards.forEach((board) => board.order(sort));
    changed();
  };
  const boards = all("table.board").map((table) => new Board(table, () => changed(), sortAll));
  const main = boards[0];
  if (!main) return;
  const count = form.querySelector(".count");
  const compare = form.querySelector("[data-compare]");
  const chooser = form.querySelector("[data-menu=columns] fieldset");
  const keys = new Map(boards.flatMap((board) => board.heads.map((head) => [head.dataset.key, head.textContent.replace(/\s+/g, " ").trim()])));
  const defaults = new Set([...HIDDEN_AT_FIRST].filter((key) => keys.has(key)));

  for (const [key, title] of keys) {
    if (key === "name" || key === "rank") continue;
    const box = make("input", { type: "checkbox", value: key });
    box.addEventListener("change", changed);
    chooser.append(make("label", {}, box, title));
  }

  const test = (row) => {
    const { q, kind, from, bits, size, use, mark, train } = Object.fromEntries(new FormData(form));
    const text = row.textContent.toLowerCase();
    if (q && !q.toLowerCase().split(/\s+/).every((word) => text.includes(word))) return false;
    if (kind && row.dataset.kind !== kind) return false;
    // A bound has no rate: it stays in view as a reference, at any budget.
    if (bits && row.dataset.bits && Number(row.dataset.bits) > Number(bits) * 1.0005) return false;
    if (from && row.dataset.bits && Number(row.dataset.bits) < Number(from) * 0.9995) return false;
    if ((bits || from) && !row.dataset.bits && row.dataset.kind !== "bound") return false;
    if (size && row.dataset.size !== size && row.dataset.kind !== "bound") return false;
    if (use && row.dataset.use !== use) return false;
    if (mark && row.dataset.mark !== mark) return false;
    if (train && !row.dataset.train.startsWith(train)) return false;
    return true;
  };

  function refresh() {
    const group = form.elements.group?.value ?? "";
    const hidden = new Set(all("input", chooser).filter((box) => !box.checked).map((box) => box.value));
    let shown = 0;
    for (const board of boards) {
      board.useGroup(group, values()[board.table.dataset.table]);
      board.show(hidden);
      board.order(board.sort);
      shown += board.filter(test);
    }
    const total = boards.reduce((sum, board) => sum + board.original.length, 0);
    count.textContent = `${shown} of ${total} rows` + (group ? `, values of ${group}; ranks belong to the overall value` : "");
    const selected = boards.flatMap((board) => board.selected);
    compare.disabled = selected.length < 2;
    compare.textContent = selected.length ? `Compare selected (${selected.length})` : "Compare selected";
  }

  function changed() {
    refresh();
    const entries = [...new FormData(form)];
    const hidden = all("input", chooser).filter((box) => !box.checked).map((box) => box.value);
    const same = hidden.length === defaults.size && hidden.every((key) => defaults.has(key));
    entries.push(["sort", main.sort], ["hide", same ? "" : hidden.join(",") || "none"], ["select", boards.flatMap((board) => board.selected).join(",")]);
    address.write(entries);
  }

  function restore() {
    const query = address.read();
    for (const field of ["q", "group", "kind", "from", "bits", "size", "use", "mark", "train"]) {
      if (form.elements[field]) form.elements[field].value = query.get(field) ?? "";
    }
    const hide = query.get("hide");
    const hidden = hide === null ? defaults : new Set(hide.split(","));
    all("input", chooser).forEach((box) => (box.checked = !hidden.has(box.value)));
    const select = (query.get("select") ?? "").split(",");
    for (const board of boards) {
      board.sort = query.get("sort") ?? "";
      board.select(select);
    }
    refresh();
  }

  form.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    history.replaceState(null, "", location.pathname);
    setTimeout(restore);
  });
  all("[data-preset]", form).forEach((link) =>
    link.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", location.pathname + link.getAttribute("href"));
      restore();
    }),
  );
  all("[data-copy]", form).forEach((button) =>
    button.addEventListener("click", async () => {
      const format = button.dataset.copy;
      await copyText(format === "link" ? location.href : copies[format](main.cellsOfView()));
      count.textContent = format === "link" ? "link copied" : `table copied as ${format}`;
      button.closest("details").open = false;
    }),
  );
  compare.addEventListener("click", () => {
    const board = boards.find((each) => each.selected.length) ?? main;
    const query = new URLSearchParams({ board: board.table.dataset.board, table: board.table.dataset.table, rows: board.selected.join(",") });
    location.href = `${document.body.dataset.root}compare.html?${query}`;
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      form.elements.q.focus();
    }
    if (event.key === "Escape") all("details.menu[open]").forEach((menu) => (menu.open = false));
  });
  document.addEventListener("click", (event) => {
    all("details.menu[open]").forEach((menu) => menu.contains(event.target) || (menu.open = false));
  });
  restore();
};

// ---- A row and its points light up together ---------------------------------------------------

const startHighlights = () => {
  const byName = new Map();
  for (const node of all("[data-row]")) {
    const name = node.dataset.row;
    byName.set(name, [...(byName.get(name) ?? []), node]);
  }
  const light = (event, on) => {
    const name = event.target.closest?.("[data-row]")?.dataset.row;
    (byName.get(name) ?? []).forEach((node) => node.classList.toggle("lit", on));
  };
  for (const [start, stop] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    document.addEventListener(start, (event) => light(event, true));
    document.addEventListener(stop, (event) => light(event, false));
  }
};

// ---- Tabs: without the script all panels stand one below the other ----------------------------

const startTabs = (section, number) => {
  const panels = all(".tab", section);
  if (panels.length < 2) return;
  const list = make("div", { className: "tab-list" });
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", section.dataset.tabs);
  const buttons = panels.map((panel, index) => {
    panel.id ||= `panel-${number}-${index}`;
    panel.setAttribute("role", "tabpanel");
    const button = make("button", { type: "button", id: `tab-${number}-${index}` }, panel.dataset.tab);
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", panel.id);
    panel.setAttribute("aria-labelledby", button.id);
    panel.querySelector("h3")?.classList.add("hidden-text");
    button.addEventListener("click", () => open(index));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open((index + step + panels.length) % panels.length, true);
    });
    return button;
  });
  const open = (chosen, focus = false) => {
    panels.forEach((panel, index) => (panel.hidden = index !== chosen));
    buttons.forEach((button, index) => {
      button.setAttribute("aria-selected", String(index === chosen));
      button.tabIndex = index === chosen ? 0 : -1;
    });
    if (focus) buttons[chosen].focus();
  };
  list.append(...buttons);
  panels[0].before(list);
  open(0);
};

// ---- Before and after -------------------------------------------------------------------------

const startSlider = (box) => {
  const after = box.querySelector(".after");
  const name = box.querySelector("img").alt.replace(/^original /, "");
  box.classList.add("live");
  const handle = make("span", { className: "handle" });
  box.append(make("span", { className: "end left" }, "original"), make("span", { className: "end right" }, "reconstruction"), handle);
  const range = make("input", { type: "range", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", `Share of the original shown: ${name}`);
  const error = make("button", { type: "button" }, "error map");
  error.setAttribute("aria-pressed", "false");
  error.addEventListener("click", () => {
    const on = box.classList.toggle("showing-error");
    error.setAttribute("aria-pressed", String(on));
  });
  const draw = () => {
    after.style.clipPath = `inset(0 0 0 ${range.value}%)`;
    handle.style.left = `${range.value}%`;
  };
  const drag = (event) => {
    const { left, width } = box.getBoundingClientRect();
    range.value = (100 * (event.clientX - left)) / width;
    draw();
  };
  range.addEventListener("input", draw);
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.addEventListener("pointermove", (event) => event.buttons && drag(event));
  box.after(make("div", { className: "slider-row" }, range, error));
  draw();
};

// ---- Comparing rows ---------------------------------------------------------------------------

const loadScript = (path) =>
  new Promise((resolve, reject) => {
    const script = make("script", { src: document.body.dataset.root + path, onload: resolve, onerror: reject });
    document.head.append(script);
  });

const unpack = (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
};

// Linear interpolation between order statistics, as numpy.percentile does by default.
const percentile = (sorted, share) => {
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
};

const HALVES = 200;

const difference = (one, other, column, index) => {
  const a = one.values[index]?.[1] ?? null;
  const b = other.values[index]?.[1] ?? null;
  if (a === null || b === null) return { text: "–", note: "missing on one side" };
  const value = a - b;
  const digits = (String(one.values[index][0]).split(".")[1] ?? "").replace(/e.*/, "").length;
  const packed = [one.draws[column.key], other.draws[column.key]];
  const found = { value, digits, text: value.toFixed(digits), note: "no common resamples" };
  if (!packed[0] || !packed[1]) return found;
  const [first, second] = packed.map(unpack);
  if (first.length !== second.length) return found;
  const drawn = first.map((number, at) => number - second[at]);
  if (drawn.length === HALVES) {
    // Common halves: few, and their spread is the standard error.
    const mean = drawn.reduce((sum, number) => sum + number, 0) / drawn.length;
    const error = Math.sqrt(drawn.reduce((sum, number) => sum + (number - mean) ** 2, 0) / (drawn.length - 1));
    [found.low, found.high] = [value - 1.959964 * error, value + 1.959964 * error];
  } else {
    const sorted = drawn.sort();
    [found.low, found.high] = [percentile(sorted, 0.025), percentile(sorted, 0.975)];
  }
  found.note = `95 % interval ${found.low.toFixed(digits)} to ${found.high.toFixed(digits)}`;
  if (found.low > 0 || found.high < 0) {
    const up = value > 0;
    found.verdict = column.direction === "none" ? "differs" : up === (column.direction === "higher") ? "better" : "worse";
  } else found.verdict = "not told apart";
  return found;
};

const SVG = "http://www.w3.org/2000/svg";
const draw = (name, attributes, text) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};

const forest = (lines, title) => {
  const [left, right, width, step] = [150, 170, 640, 26];
  const height = lines.length * step + 40;
  const ends = lines.flatMap((line) => [line.low, line.high, 0]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low) * 0.06 || 1;
  const x = (value) => left + ((value - low + room) / (high - low + 2 * room)) * (width - left - right);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img", "aria-label": title });
  svg.append(draw("title", {}, title), draw("line", { x1: x(0), x2: x(0), y1: 8, y2: height - 26, class: "zero" }));
  svg.append(draw("text", { x: x(0), y: height - 8, "text-anchor": "middle", class: "tick" }, "equal"));
  lines.forEach((line, index) => {
    const y = 22 + index * step;
    const group = draw("g", { class: `point ${line.kind} ${line.verdict === "not told apart" ? "open" : ""}` });
    group.append(
      draw("text", { x: left - 12, y: y + 4, "text-anchor": "end", class: "name" }, line.name),
      draw("line", { x1: x(line.low), x2: x(line.high), y1: y, y2: y, class: "interval" }),
      draw("circle", { cx: x(line.value), cy: y, r: 4.5 }),
      draw("text", { x: width, y: y + 4, "text-anchor": "end", class: "tick" }, `${line.value.toFixed(line.digits)} [${line.low.toFixed(line.digits)}, ${line.high.toFixed(line.digits)}]`),
    );
    svg.append(group);
  });
  return svg;
};

const startCompare = async (section) => {
  const form = section.querySelector("form");
  const choices = section.querySelector(".choices");
  const status = section.querySelector(".compare-status");
  const result = section.querySelector(".compare-result");
  const index = window.medbenchBoards ?? {};
  const { board, table, reference } = form.elements;
  const query = address.read();
  let wanted = (query.get("rows") ?? "").split(",").filter(Boolean);

  const fill = (select, values, chosen) => {
    select.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
    if (values.some(([value]) => value === chosen)) select.value = chosen;
  };
  const rows = () => index[board.value]?.tables[table.value]?.rows ?? [];
  const chosen = () => all("input:checked", choices).map((box) => box.value);

  const fillTables = (given) => {
    const tables = Object.entries(index[board.value]?.tables ?? {});
    fill(table, tables.map(([id, facts]) => [id, `${facts.track} (${facts.rows.length} rows)`]), given);
    fillRows();
  };
  const fillRows = () => {
    const names = rows();
    const known = wanted.filter((name) => names.includes(name));
    fill(reference, names.map((name) => [name, name]), known[0] ?? names[0]);
    const first = known.length > 1 ? known.slice(1) : names.filter((name) => name !== reference.value).slice(0, 3);
    choices.replaceChildren(make("legend", {}, "Compared with it"), ...names.map((name) => {
      const box = make("input", { type: "checkbox", value: name, checked: first.includes(name) });
      return make("label", {}, box, name);
    }));
  };

  const show = async () => {
    const others = chosen().filter((name) => name !== reference.value);
    wanted = [reference.value, ...others];
    address.write([["board", board.value], ["table", table.value], ["rows", wanted.join(",")]]);
    all("label", choices).forEach((label) => (label.hidden = label.querySelector("input").value === reference.value));
    try {
      if (!window.medbenchDraws?.[board.value]) await loadScript(`data/${board.value}.draws.js`);
    } catch {
      status.textContent = `data/${board.value}.draws.js cannot be read`;
      return;
    }
    const data = window.medbenchDraws[board.value][table.value];
    result.replaceChildren(...compareView(data, reference.value, others));
    status.textContent = others.length ? `${others.length} compared with ${reference.value}` : "Choose at least one row to compare.";
  };

  fill(board, Object.entries(index).map(([name, facts]) => [name, `${facts.title} (${facts.images} images)`]), query.get("board"));
  fillTables(query.get("table"));
  board.addEventListener("change", () => { fillTables(); show(); });
  table.addEventListener("change", () => { fillRows(); show(); });
  reference.addEventListener("change", show);
  choices.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  await show();
};

const compareView = (data, reference, others) => {
  const base = data.rows[reference];
  const parts = [];
  const counts = new Map(others.map((name) => [name, { better: 0, worse: 0, "not told apart": 0 }]));
  const compared = data.columns.map((column, index) => [
    column,
    others.map((name) => ({ name, kind: data.rows[name].kind, ...difference(data.rows[name], base, column, index) })),
  ]);
  for (const [, lines] of compared) for (const line of lines) if (line.verdict in counts.get(line.name)) counts.get(line.name)[line.verdict] += 1;
  const root = document.body.dataset.root;
  const head = make("tr", {}, ...["Tokenizer", "Better", "Not told apart", "Worse", ...data.columns.map((c) => c.title + (c.unit ? ` (${c.unit})` : ""))].map((text, index) => make("th", { scope: "col", className: index ? "num" : "stick" }, text)));
  const line = (name) => {
    const title = make("th", { scope: "row", className: "stick" }, make("a", { href: `${root}run/${data.rows[name].run}.html` }, name));
    const count = counts.get(name);
    const cells = [count.better, count["not told apart"], count.worse].map((n) => make("td", { className: "num" }, String(n)));
    const values = compared.map(([, lines]) => {
      const found = lines.find((each) => each.name === name);
      const cell = make("td", { className: "num", title: found.note }, found.value > 0 ? `+${found.text}` : found.text);
      if (found.verdict) cell.append(make("br"), make("span", { className: "muted" }, found.verdict));
      return cell;
    });
    return make("tr", {}, title, ...cells, ...values);
  };
  const own = make("tr", { className: "reference" }, make("th", { scope: "row", className: "stick" }, `${reference} (its values)`), ...[0, 1, 2].map(() => make("td", {}, "")), ...base.values.map(([text]) => make("td", { className: "num" }, text)));
  const table = make("table", { className: "plain" }, make("caption", {}, `Paired differences from ${reference}`), make("thead", {}, head), make("tbody", {}, own, ...others.map(line)));
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Paired differences from ${reference}`);
  parts.push(make("h2", {}, `Differences from ${reference}`), scroll);
  const figures = make("div", { className: "figures" });
  for (const [column, lines] of compared) {
    const drawable = lines.filter((each) => each.low !== undefined);
    if (!drawable.length) continue;
    const unit = column.unit ? ` (${column.unit})` : "";
    const better = { higher: "right is better than the reference", lower: "left is better than the reference" }[column.direction] ?? "";
    const title = `${column.title}${unit}: difference from ${reference}`;
    const caption = make("figcaption", {}, make("h3", {}, title), make("p", {}, better));
    figures.append(make("figure", { className: "figure" }, caption, make("div", { className: "canvas" }, forest(drawable, title))));
  }
  if (figures.children.length) parts.push(figures);
  parts.push(...comparePictures(data, reference, others));
  return parts;
};

// Shared pictures, first those on which the two sides' mean errors differ most.
const comparePictures = (data, reference, others) => {
  const root = document.body.dataset.root;
  const names = [reference, ...others].filter((name) => data.rows[name].pictures?.length).slice(0, 5);
  if (names.length < 2) return [];
  const by = new Map(names.map((name) => [name, new Map(data.rows[name].pictures.map((picture) => [picture.id, picture]))]));
  const shared = [...by.get(names[0]).keys()].filter((id) => names.every((name) => by.get(name).has(id)));
  const gap = (id) => Number(by.get(names[1]).get(id).error) - Number(by.get(names[0]).get(id).error);
  const ordered = shared.sort((a, b) => gap(b) - gap(a));
  const chosen = ordered.length > 6 ? [...ordered.slice(0, 3), ...ordered.slice(-3)] : ordered;
  if (!chosen.length) return [];
  const image = (path, alt) => make("img", { src: root + path, alt, width: 128, height: 128, loading: "lazy" });
  const head = make("tr", {}, ...["Image", "Original", ...names].map((text) => make("th", { scope: "col" }, text)));
  const lines = chosen.map((id) => {
    const first = by.get(names[0]).get(id);
    const cells = names.map((name) => {
      const picture = by.get(name).get(id);
      return make("td", {}, image(picture.image, `${id} by ${name}`), image(picture.map, `error map of ${id} by ${name}`), make("span", { className: "muted" }, `error ${picture.error}`));
    });
    return make("tr", {}, make("th", { scope: "row" }, first.group), make("td", {}, image(first.original, `original ${id}`)), ...cells);
  });
  const table = make("table", { className: "contact" }, make("caption", {}, "Shared pictures"), make("thead", {}, head), make("tbody", {}, ...lines));
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Shared pictures");
  const text = `Pictures that both records hold: first those on which ${names[1]} errs most beside ${names[0]}, last those where it is the other way round. “error” is the mean absolute error in grey levels.`;
  return [make("h2", {}, "Where they differ"), make("p", {}, text), scroll];
};

// ---- The overview's question: a board's page with its filters set -----------------------------

const startFinder = (form) =>
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { board, ...rest } = Object.fromEntries(new FormData(form));
    const query = new URLSearchParams(Object.entries(rest).filter(([, value]) => value));
    location.href = `${board}?${query}`;
  });

// ---- Start ------------------------------------------------------------------------------------

all("form[data-find]").forEach(startFinder);
all("form.filters:not([data-find])").forEach((form) => form.closest("[data-compare-page]") || startBoard(form));
all("[data-compare-page]").forEach(startCompare);
all("[data-tabs]").forEach(startTabs);
all("[data-slider]").forEach(startSlider);
startHighlights();
