// Keeps times relative, pages live and the playground quick. Everything can be read without it.
(() => {
  "use strict";
  const spans = [[1, "s"], [60, "min"], [3600, "h"], [86400, "d"]];
  const relative = (moment) => {
    const seconds = Math.round((moment - Date.now()) / 1000);
    const size = Math.abs(seconds);
    if (size < 2) return "now";
    const [length, word] = spans.filter(([length]) => size >= length).pop() ?? spans[0];
    const text = `${Math.floor(size / length)} ${word}`;
    return seconds < 0 ? `${text} ago` : `in ${text}`;
  };
  const times = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const text = relative(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  times();
  setInterval(times, 1000);

  // On a phone the pages are a row that scrolls: this one is in sight.
  const row = document.querySelector("header nav");
  const here = row?.querySelector("[aria-current]");
  if (here && row.scrollWidth > row.clientWidth) row.scrollLeft = here.offsetLeft - row.offsetLeft - 16;

  const status = document.getElementById("status");
  const say = (text) => { if (status) status.textContent = text; };

  // Is somebody writing on the page? What they write must not go away under their hands.
  const written = (field) => (field.options
    ? [...field.options].some((option) => option.selected !== option.defaultSelected && !(option.value === "" && option.selected))
    : field.value !== field.defaultValue);
  const isWriting = (live) => [...live.querySelectorAll("input:not([type=hidden]), select, textarea")]
    .some((field) => field === document.activeElement || written(field));

  // How to find again what has the focus, once the page was made anew.
  const sameAs = (element, live) => {
    if (!element || !live.contains(element)) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const within = element.closest("details[id]");
    if (within && element.matches("summary")) return `#${CSS.escape(within.id)} > summary`;
    const href = element.getAttribute("href");
    return href ? `a[href="${CSS.escape(href)}"]` : null;
  };

  // The page again, with what is open and focused left as it is.
  let waiting = false;
  const refresh = async () => {
    const live = document.querySelector("[data-live]");
    if (!live) return;
    waiting = isWriting(live);
    if (waiting) { say("There is news; it is shown once you are done."); return; }
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-live]");
    if (!fresh || fresh.innerHTML === live.dataset.last) return;
    if (isWriting(live)) { waiting = true; return; }
    const focused = sameAs(document.activeElement, live);
    for (const open of live.querySelectorAll("details[id]")) {
      const other = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (other) other.open = open.open;
    }
    live.dataset.last = fresh.innerHTML;
    live.replaceChildren(...fresh.childNodes);
    if (focused) live.querySelector(focused)?.focus({ preventScroll: true });
    times();
    return true;
  };
  if (document.querySelector("[data-live]") && "EventSource" in window) {
    let due = null;
    // A page that takes long to make is made less often: a tenth of the time at most goes into it.
    let pause = 250;
    const news = async () => {
      due = null;
      const began = performance.now();
      if (await refresh()) say("Updated.");
      pause = Math.max(250, 10 * (performance.now() - began));
    };
    const later = () => { due ??= setTimeout(() => news().catch(() => {}), pause); };
    const changes = new EventSource("/api/v1/changes");
    changes.addEventListener("change", later);
    // For everybody to see: a page that no longer follows looks like one where nothing happens.
    const lost = document.getElementById("lost");
    changes.onerror = () => { if (lost) lost.hidden = false; };
    // Something may have happened since the page was made, or since the connection was lost.
    changes.onopen = () => { if (lost) lost.hidden = true; later(); };
    document.addEventListener("focusout", () => { if (waiting) later(); });
    addEventListener("pagehide", () => changes.close());
  }

  // Whoever asks for something sees that it is under way, and cannot ask for it twice by accident.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (event.target.method !== "post" || !button) return;
    if (button.getAttribute("aria-busy")) { event.preventDefault(); return; }
    button.setAttribute("aria-busy", "true");
    say("Under way.");
  });
  // A page that comes back from the browser's memory has nothing under way.
  addEventListener("pageshow", () => document.querySelectorAll("[aria-busy]").forEach((one) => one.removeAttribute("aria-busy")));

  // Edited rules are tried while they are typed.
  const form = document.querySelector("form[data-try]");
  if (form) {
    let due = null;
    let number = 0;
    const attempt = async () => {
      const mine = ++number;
      const result = document.getElementById("result");
      result?.classList.add("busy");
      const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("result");
      if (mine !== number || !fresh || !result) return;
      result.replaceWith(fresh);
      say(fresh.dataset.summary ?? "Updated.");
      times();
    };
    form.addEventListener("input", () => { clearTimeout(due); due = setTimeout(() => attempt().catch(() => say("It could not be tried; trying again with the next change.")), 400); });
  }
})();
