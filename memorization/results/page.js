"use strict";
// Cases are drawn in blocks, when they come near the view, and let go when they are far from it. Texts are set as text only.
(async () => {
  const BLOCK = 25, PRINTED = 2, COLOURS = 6, NAMES = ["its own", "one other's", "held by several"], WHOSE = { own: "its own", another: "one other's", other: "one held-out sample's", shared: "in several samples", prompt: "in the prompt", nobody: "in no sample" };
  const CONTROL = /<\|[^<>|\s]{1,40}\|>|<(?:start|end)_of_turn>|\[\/?INST\]|<\/s>/g;  // as chat templates spell them
  const $ = (id) => document.getElementById(id);
  const list = $("list");

  const packed = atob($("data").textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { runs, total, texts, classes, cases, samples } = JSON.parse(await new Response(stream).text());
  $("data").remove();
  const lower = [];
  const rows = new Map(cases.map((one) => [key(one), one]));
  const ofSample = new Map([...samples, ...[...cases].reverse()].map((one) => [`${one.run} ${one.id}`, one]));  // its first case
  const blocks = new Map();
  let shown = [], current = -1;

  function key(one) { return `case-${one.run + 1}-${one.id}${one.turn ? `/${one.turn}` : ""}-${one.sample}`; }

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // A text in pieces, each with the classes of all spans over it: [start, end, class names, number].
  function marked(text, spans) {
    const bounds = new Set([0, text.length]);
    for (const [start, end] of spans) bounds.add(start).add(end);
    const places = [...bounds].sort((a, b) => a - b), pieces = document.createDocumentFragment();
    for (let i = 0; i + 1 < places.length; i++) {
      const over = spans.filter(([start, end]) => start <= places[i] && places[i + 1] <= end);
      const piece = text.slice(places[i], places[i + 1]);
      if (!over.length) { pieces.append(piece); continue; }
      const copied = over.filter((span) => span[3]);
      const made = element(copied.length ? "mark" : "span", { textContent: piece });
      for (const span of over) made.classList.add(...span[2].split(" "));
      if (copied.length) made.dataset.runs = copied.map((span) => span[3]).join(" ");
      const begun = copied.filter((span) => span[0] === places[i]).map((span) => span[3]);
      if (begun.length) made.dataset.n = begun.join(",");
      pieces.append(made);
    }
    return pieces;
  }

  // parts: texts with the class of each, one after the other. Spans count from the beginning of the first.
  function side(title, parts, spans) {
    const paragraph = element("p", { className: "text", dir: "auto" });
    const all = spans.concat([...parts.map((part) => part[0]).join("").matchAll(CONTROL)].map((found) => [found.index, found.index + found[0].length, "control", 0]));
    let begin = 0;
    for (const [text, look] of parts) {
      const end = begin + text.length, from = begin;
      const within = all.filter((span) => span[0] < end && span[1] > from).map((span) => [Math.max(span[0], from) - from, Math.min(span[1], end) - from, span[2], span[3]]);
      if (text) paragraph.append(element("span", { className: look }, marked(text, within)));
      begin = end;
    }
    return element("div", {}, element("h4", { textContent: title }), paragraph);
  }

  // Both sides of a case, beside the sample `other`, or its own where that is null.
  function sides(one, other) {
    const prefix = texts[one.prefix], start = prefix.length, left = [], right = [];
    const beside = other === null ? one : other in one.others ? undefined : ofSample.get(`${one.run} ${other}`);
    const parts = beside ? [[texts[beside.prefix], "prompt"], [texts[beside.suffix], "rest"], [texts[beside.rest], "later"]] : [[texts[one.others[other]], "rest"]];
    const known = parts[0][0] !== undefined;
    one.copied.forEach(([from, to, , , , sample, first, last], n) => {
      const look = `run c${n % COLOURS}`;
      left.push([start + from, start + to, look, n + 1]);
      if (beside && sample === beside.id && last) right.push([first, last, look, n + 1]);
    });
    for (const [from, to, sample, first, last] of one.passages) {
      if (sample !== other) continue;
      left.push([start + from, start + to, "passage", 0]);
      if (last) right.push([first, last, "passage", 0]);
    }
    if (other === null && one.matched) {
      left.push([start, start + one.matched, "matched", 0]);
      right.push([start, start + one.matched, "matched", 0]);
    }
    if (other === null && one.map && $("f-map").checked) {
      let from = start;
      for (const [end, shift] of one.map) {
        const strength = Math.min(3, Math.floor(Math.abs(shift)));
        if (strength) right.push([from, start + end, `${shift > 0 ? "up" : "down"}${strength}`, 0]);
        from = start + end;
      }
    }
    for (const [from, to] of one.personal) left.push([start + from, start + to, "personal", 0]);
    const made = element("div", { className: "sides" }, side("generation", [[prefix, "prompt"], [texts[one.generation], "rest"]], left));
    const title = other === null ? "its own sample" : `sample ${other}`;
    if (!known) made.append(element("div", {}, element("h4", { textContent: title }), element("p", { textContent: "The text of this sample is not in this result." })));
    else made.append(side(title, parts, right));
    return made;
  }

  function card(place) {
    const one = shown[place], id = key(one);
    const head = element("header", {}, element("h3", { textContent: one.name[0].toUpperCase() + one.name.slice(1) + (one.sample ? `, generation ${one.sample + 1}` : ""), id: `h-${id}` }));
    const say = (text) => head.append(element("span", { textContent: text }));
    if (runs.length > 1) say(runs[one.run]);
    say(one.member ? `member, ${one.copies} ${one.copies === 1 ? "copy" : "copies"}` : "held out");
    say(`label: ${one.label}`);
    say(`record: ${classes[one.class]}${one.p === null ? "" : ` (p ${one.p.toPrecision(2)})`}`);
    if (one.exact) say("exact match");
    if (one.tokens !== null) say(`${one.tokens} tokens match`);
    if (one.longest) say(`longest run ${one.longest} characters`);
    head.append(element("a", { href: `#${id}`, textContent: "link" }));
    const made = element("article", { id, tabIndex: -1 }, head);
    made.setAttribute("aria-labelledby", `h-${id}`);
    made.setAttribute("aria-posinset", place + 1);
    made.setAttribute("aria-setsize", shown.length);
    const samples = [...one.copied.filter((run) => run[5] !== one.id).map((run) => run[5]), ...one.passages.filter((each) => each[2] !== null).map((each) => each[2])];
    const others = [...new Set(samples)].slice(0, 12);
    // where only another sample is copied, that one is shown first
    let other = others.length && one.copied.length && !one.copied.some((run) => run[5] === one.id) ? others[0] : null;
    let body = sides(one, other);
    if (others.length) {
      const views = element("div", { className: "views" });
      views.setAttribute("role", "group");
      views.setAttribute("aria-label", "Beside which sample");
      for (const each of [null, ...others]) {
        const button = element("button", { type: "button", textContent: each === null ? "its own sample" : `sample ${each}` });
        button.setAttribute("aria-pressed", each === other);
        button.onclick = () => {
          views.querySelectorAll("button").forEach((any) => any.setAttribute("aria-pressed", any === button));
          const next = sides(one, each);
          body.replaceWith(next);
          body = next;
        };
        views.append(button);
      }
      made.append(views);
    }
    made.append(body);
    const facts = one.copied.map(([, , whose, holders, members, sample, , , length], n) => `run ${n + 1}: ${length} characters, ${NAMES[whose]}${holders > 1 ? ` (${holders} samples, near-duplicates counted once, ${members} of them members)` : whose === 1 ? ` (sample ${sample})` : ""}`);
    for (const item of new Set(one.personal.map((each) => `${each[2]} (${WHOSE[each[3]]})`))) facts.push(`personal data: ${item}`);
    for (const [name, value] of Object.entries(one.scores)) facts.push(`${name} ${value}`);
    made.append(element("p", { className: "facts", textContent: facts.join("; ") }));
    return made;
  }

  function fill(block) {
    if (block.childElementCount) return;
    const first = blocks.get(block);
    for (let place = first; place < Math.min(first + BLOCK, shown.length); place++) block.append(card(place));
    block.style.minHeight = "";
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) fill(target);
      else if (target !== list.firstChild && target.childElementCount && !target.contains(document.activeElement)) {
        target.style.minHeight = `${target.offsetHeight}px`;
        target.replaceChildren();
      }
    }
  }, { rootMargin: "1500px 0px" });

  function draw() {
    watcher.disconnect();
    blocks.clear();
    list.replaceChildren();
    for (let first = 0; first < shown.length; first += BLOCK) {
      const block = element("div", { className: first / BLOCK < PRINTED ? "block" : "block late" });
      block.style.minHeight = `${Math.min(BLOCK, shown.length - first) * 320}px`;
      blocks.set(block, first);
      list.append(block);
      watcher.observe(block);
    }
    if (shown.length) fill(list.firstChild);  // for who is not led by the view: a feed must hold its articles
    const [drawn, here, all] = [shown, cases, { length: total }].map((some) => some.length.toLocaleString("en"));
    $("count").textContent = `${drawn} of ${here} cases${total > cases.length ? ` on this page, of ${all} in all` : ""}`;
    current = -1;
  }

  const values = () => Object.fromEntries(["run", "member", "copies", "label", "whose", "personal", "class", "sort", "text"].map((name) => [name, $(`f-${name}`).value]));

  function holds(one, wanted) {
    if (wanted.run && one.run !== +wanted.run) return false;
    if (wanted.member && one.member !== (wanted.member === "1")) return false;
    if (wanted.class && one.class !== +wanted.class) return false;
    if (wanted.copies && one.copies !== +wanted.copies) return false;
    if (wanted.label && one.label !== wanted.label) return false;
    if (wanted.whose === "-" ? one.copied.length : wanted.whose && !one.copied.some((run) => run[2] === +wanted.whose)) return false;
    if (wanted.personal && !one.personal.some((each) => wanted.personal === "*" ? each[3] === "own" || each[3] === "another" : each[2] === wanted.personal)) return false;
    if (!wanted.text) return true;
    const text = wanted.text.toLowerCase();
    return String(one.id) === text || [one.prefix, one.suffix, one.generation].some((place) => (lower[place] ??= texts[place].toLowerCase()).includes(text));
  }

  function select() {
    const wanted = values();
    shown = cases.filter((one) => holds(one, wanted));
    const order = (a, b) => a.run - b.run || a.id - b.id || a.turn - b.turn || a.sample - b.sample;
    shown.sort(wanted.sort === "id" ? order : wanted.sort === "p" ? (a, b) => a.class - b.class || (a.p ?? 2) - (b.p ?? 2) || order(a, b) : (a, b) => (b[wanted.sort] ?? 0) - (a[wanted.sort] ?? 0) || order(a, b));
    draw();
  }

  function go(place) {
    if (place < 0 || place >= shown.length) return;
    current = place;
    const block = list.children[Math.floor(place / BLOCK)];
    fill(block);
    const made = block.children[place % BLOCK];
    made.scrollIntoView({ block: "start" });
    made.focus({ preventScroll: true });
  }

  function open() {
    const one = rows.get(decodeURIComponent(location.hash.slice(1)));
    if (!one) return;
    if (!shown.includes(one)) { $("filters").reset(); select(); }
    go(shown.indexOf(one));
  }

  const offer = (id, found, told) => found.forEach((value) => $(id).append(element("option", { value: String(value), textContent: told(value) })));
  offer("f-run", runs.map((_, run) => run), (run) => runs[run]);
  offer("f-copies", [...new Set(cases.filter((one) => one.member).map((one) => one.copies))].sort((a, b) => a - b), String);
  offer("f-class", [...new Set(cases.map((one) => one.class))].sort(), (place) => classes[place]);
  $("f-map").parentElement.hidden = !cases.some((one) => one.map);
  offer("f-label", [...new Set(cases.map((one) => one.label))].sort(), String);
  offer("f-personal", [...new Set(cases.flatMap((one) => one.personal.map((each) => each[2])))].sort(), String);
  $("f-run").parentElement.hidden = runs.length < 2;

  $("filters").addEventListener("input", select);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", open);
  addEventListener("beforeprint", () => [...list.children].slice(0, PRINTED).forEach(fill));
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && typing) { event.target.blur(); go(Math.max(current, 0)); }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); $("f-text").focus(); }
    if ("jn".includes(event.key)) go(current + 1);
    if ("kp".includes(event.key)) go(current - 1);
  });
  list.addEventListener("focusin", (event) => {
    const made = event.target.closest("article");
    if (made) current = made.getAttribute("aria-posinset") - 1;
  });
  select();
  open();
  list.setAttribute("aria-busy", "false");
  performance.mark("ready");
})();
