// Keeps a page that is open as the server would render it now. Without this script the page is read as it was sent.
import { count } from "./times.js";
import { filter } from "./filter.js";

const main = document.getElementById("main");
const light = document.getElementById("live");
const said = document.getElementById("said");
const page = main.dataset.page;
const SETTLE_MS = 15; // several events of one moment are one request
const GAP_MS = 200; // at the least, between two requests: a busy fleet is no reason to ask without end
const STEPS_MS = 2000; // the steps of an upgrade are no events
const AGAIN_MS = 5000;
const SLOW_PAGES = { calendar: 5000, plan: 1000, flags: 150, service: 150, upgrade: 150, audit: 150 };
const NAMED_MAX = 50;

let source = null;
let wasReady = false;
let timer = 0;
let busy = false;
let asked = 0; // when the last request was made
let whole = false; // the whole page is to be fetched
const stale = new Map(); // environment -> services that look otherwise; null: any

function show(state, text) {
  light.hidden = false;
  light.dataset.state = state;
  light.querySelector(".text").textContent = text;
}

function open() {
  if (!light || source || document.hidden) return;
  source = new EventSource("/events");
  source.addEventListener("ready", () => {
    show("on", "live");
    if (wasReady) everything(); // what came in between without a number was missed
    wasReady = true;
  });
  source.addEventListener("reset", everything);
  source.addEventListener("status", (event) => looks(JSON.parse(event.data)));
  source.addEventListener("change", (event) => happened(JSON.parse(event.data)));
  source.onerror = () => {
    show("off", "reconnecting");
    if (source && source.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, AGAIN_MS);
    }
  };
}

function close() {
  if (source) source.close();
  source = null;
}

function looks({ environment, services }) {
  performance.mark("ugs-heard");
  if (page === "fleet") refresh(environment || "", services);
  else if (concerned(environment, services)) everything();
}

function happened(row) {
  performance.mark("ugs-heard");
  if (page === "fleet") refresh(row.environment, row.service ? [row.service] : []);
  else if (page === "audit" || concerned(row.environment, row.service ? [row.service] : null)) everything();
}

function refresh(environment, services) { // the cells of these services, and what stands above them
  const known = stale.get(environment);
  if (services === null || known === null) stale.set(environment, null);
  else stale.set(environment, new Set([...(known || []), ...services]));
  soon(SETTLE_MS);
}

function concerned(environment, services) {
  const here = main.dataset;
  if (!(page in SLOW_PAGES)) return false;
  if (here.environment && environment !== here.environment) return false;
  return !(here.service && services !== null && !services.includes(here.service));
}

function everything() {
  whole = true;
  soon(SLOW_PAGES[page] || SETTLE_MS);
}

function soon(after) {
  const wait = Math.max(after, asked + GAP_MS - performance.now());
  if (!timer && (page === "fleet" || page in SLOW_PAGES)) timer = setTimeout(flush, wait);
}

async function flush() {
  timer = 0;
  if (busy) return soon(SETTLE_MS);
  busy = true;
  asked = performance.now();
  try {
    if (whole) {
      whole = false;
      stale.clear();
      replaceRegions(await fetched(location.href));
    } else {
      for (const [environment, services] of [...stale]) {
        stale.delete(environment);
        await refreshCells(environment, services);
      }
    }
    if (source && source.readyState === EventSource.OPEN) show("on", "live");
  } catch (error) {
    if (error !== signedOut) {
      show("off", "reconnecting");
      whole = true;
      soon(AGAIN_MS);
    }
  } finally {
    busy = false;
  }
}

const signedOut = new Error("signed out");

async function fetched(address) {
  const answer = await fetch(address, { redirect: "manual", headers: { Accept: "text/html" } });
  if (answer.type === "opaqueredirect" || answer.status === 401) {
    close();
    show("off", "signed out");
    throw signedOut;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  count(fresh); // what differs by the time alone is no change
  return fresh;
}

async function refreshCells(environment, services) {
  const query = new URLSearchParams();
  query.set("environment", environment);
  if (services && services.size <= NAMED_MAX) for (const one of services) query.append("service", one);
  if (services && services.size === 0) query.append("service", ""); // only what stands above the matrix
  const fresh = await fetched(`/ui/cells?${query}`);
  let sentence = "";
  for (const cell of fresh.querySelectorAll("td[id]")) {
    const old = document.getElementById(cell.id);
    if (!old) { everything(); continue; } // it is new here
    old.classList.remove("changed");
    if (old.outerHTML === cell.outerHTML) continue;
    sentence = cell.querySelector("a").title;
    swap(old, cell).classList.add("changed");
  }
  for (const region of fresh.querySelectorAll("[data-live][id]")) replaceRegion(region);
  if (sentence) said.textContent = sentence;
  done();
}

function replaceRegions(fresh) {
  for (const region of fresh.querySelectorAll("[data-live][id]")) replaceRegion(region);
  const sentence = fresh.querySelector("#head .sentence");
  if (sentence && sentence.textContent !== said.textContent) said.textContent = sentence.textContent;
  filter();
  done();
}

function replaceRegion(region) {
  const old = document.getElementById(region.id);
  if (!old || old.outerHTML === region.outerHTML || inUse(old)) return;
  for (const part of old.querySelectorAll("details[open][id]")) {
    const same = region.querySelector(`#${CSS.escape(part.id)}`);
    if (same) same.open = true;
  }
  swap(old, region);
}

function inUse(region) { // somebody is writing into it
  const field = document.activeElement;
  return region.contains(field) && field.matches("input, select, textarea") && region.id !== "fleet";
}

function swap(old, fresh) {
  const path = focusIn(old);
  const node = document.importNode(fresh, true);
  old.replaceWith(node);
  if (path) refocus(node, path);
  return node;
}

function focusIn(old) { // who goes by keyboard stays where he was
  const field = document.activeElement;
  if (!field || !old.contains(field)) return null;
  const all = [...old.querySelectorAll("a, button, summary, [tabindex]")];
  return { href: field.getAttribute("href"), index: all.indexOf(field), self: field === old };
}

function refocus(node, { href, index }) {
  const all = [...node.querySelectorAll("a, button, summary, [tabindex]")];
  const same = href && all.find((one) => one.getAttribute("href") === href);
  (same || all[index])?.focus({ preventScroll: true });
}

function done() {
  count();
  performance.mark("ugs-shown");
}

document.addEventListener("visibilitychange", () => { // a browser has few connections to give
  if (document.hidden) close();
  else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", open);
count();
setInterval(() => count(), 1000);
if (page === "upgrade") setInterval(() => { if (source && document.querySelector("#head.moving")) everything(); }, STEPS_MS);
filter();
open();
