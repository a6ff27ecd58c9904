// What pages do more where scripts run: everything works without. No part of a shared page is personal: the one that is, the
// menu, is asked for here.
'use strict';

const root = document.documentElement;
const kept = {
  read: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  write: (name, value) => { try { localStorage.setItem(name, value); } catch { /* kept for this page only */ } },
};

// Before anything is drawn.
const chosen = kept.read('theme');
if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;

const isDark = () => (root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';

function offerThemes() {
  const button = document.getElementById('theme');
  const show = () => { button.textContent = isDark() ? 'Light' : 'Dark'; button.setAttribute('aria-label', `Change to ${isDark() ? 'light' : 'dark'} colours`); };
  button.hidden = false;
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    kept.write('theme', root.dataset.theme);
    show();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
  show();
}

// ---------------------------------------------------------------- the strip

const LINES_MAX = 30;

function note(method, path, cache, age, ms) {
  const line = document.createElement('li');
  const ageText = age === null ? '' : `age ${age} s`;
  for (const text of [method, path, cache || 'no cache', ageText, `${ms.toFixed(1)} ms`]) {
    const cell = document.createElement('span');
    cell.textContent = text;
    line.append(cell);
  }
  if (/^[A-Z]+$/.test(cache || '')) line.children[2].className = cache;
  const list = document.getElementById('requests');
  list.prepend(line);
  while (list.children.length > LINES_MAX) list.lastElementChild.remove();
  document.getElementById('requests-note').hidden = true;
}

// fetch, with a line on the strip.
async function ask(path, options = {}) {
  const begun = performance.now();
  const answer = await fetch(path, { credentials: 'same-origin', ...options });
  note(options.method || 'GET', path, answer.headers.get('x-cache'), answer.headers.get('age'), performance.now() - begun);
  return answer;
}

// A script cannot see the fields of the answer that brought it: how long that took is known, where it came from is asked again.
async function notePage() {
  const [entry] = performance.getEntriesByType('navigation');
  const took = entry ? entry.responseEnd - entry.requestStart : 0;
  const path = here();
  await ask(path, { method: 'HEAD' });
  note('PAGE', path, 'loaded', null, took);
}

// ---------------------------------------------------------------- what is personal, and what is live

async function fillMenu() {
  const answer = await ask('/account/menu');
  if (answer.ok) document.getElementById('menu').replaceChildren(...parsed(await answer.text()).body.childNodes);
}

async function showViews() {
  const answer = await ask('/status');
  if (!answer.ok) return;
  const { page_views: views } = await answer.json();
  if (Number.isInteger(views)) document.getElementById('views').textContent = `· ${views} page views`;
}

const parsed = (html) => new DOMParser().parseFromString(html, 'text/html');
const countView = () => ask('/views', { method: 'POST', body: new URLSearchParams({ page: document.body.dataset.page }) });

// ---------------------------------------------------------------- filters, pages and posts without leaving the page

// The parts with these names are taken from the other page.
async function replaceFrom(path, ids) {
  const answer = await ask(path);
  const page = parsed(await answer.text());
  for (const id of ids) {
    const [from, to] = [page.getElementById(id), document.getElementById(id)];
    if (!from || !to) return false;
    to.replaceWith(from);
  }
  document.title = page.title;
  document.body.dataset.page = page.body.dataset.page;
  return true;
}

const here = () => location.pathname + location.search;
let shown = here();

async function show(path, isNew) {
  shown = path;
  if (!(await replaceFrom(path, ['filters', 'news']))) { location.assign(path); return; }
  if (isNew) history.pushState(null, '', path);
  document.getElementById('news-title').focus();
  await countView();
}

function followFilters() {
  if (!document.getElementById('news')) return;
  document.addEventListener('click', (event) => {
    const link = event.target.closest('#news nav a, #news a.category');
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(link.getAttribute('href'), true);
  });
  document.addEventListener('submit', (event) => {
    if (event.target.id !== 'filters') return;
    event.preventDefault();
    const given = [...new FormData(event.target)].filter(([, value]) => value.trim());
    show(given.length ? `/?${new URLSearchParams(given)}` : '/', true);
  });
  // Links within the page come here too: those change nothing.
  addEventListener('popstate', () => { if (here() !== shown) show(here(), false); });
}

// From the board's own page, which a post renews in the cache; the news beside it are not fetched again for that.
async function renewBoard() {
  const most = document.body.dataset.page === '/board' ? Infinity : 5;
  const page = parsed(await (await ask('/board')).text());
  const newest = [...page.querySelectorAll('#board .messages > li')].slice(0, most);
  document.querySelector('#board .messages').replaceChildren(...newest);
  if (newest.length) document.querySelector('#board .none')?.remove();
}

function postWithoutLeaving() {
  document.addEventListener('submit', async (event) => {
    if (event.target.id !== 'post') return;
    event.preventDefault();
    const { text, author } = Object.fromEntries(new FormData(event.target));
    const headers = { 'content-type': 'application/json' };
    const answer = await ask('/messages', { method: 'POST', headers, body: JSON.stringify({ text, author }) });
    const status = () => document.getElementById('posted');
    if (!answer.ok) { status().textContent = (await answer.json()).detail; return; }
    event.target.reset();
    await renewBoard();
    status().textContent = 'Posted.';
    document.getElementById('text').focus();
  });
}

document.addEventListener('DOMContentLoaded', async () => {
  offerThemes();
  followFilters();
  postWithoutLeaving();
  await Promise.allSettled([notePage(), fillMenu(), countView()]);
  await showViews();
});
