/** HTML templates: every interpolated value is escaped, unless it is already Html. */
import { createHash } from 'node:crypto'

/** Text that is already HTML. */
export class Html {
  constructor(readonly text: string) {}
}

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => ESCAPES[character] as string)

type Piece = Html | string | number | readonly (Html | string | number)[]

export function html(strings: TemplateStringsArray, ...pieces: Piece[]): Html {
  const text = (piece: Piece): string => {
    if (piece instanceof Html) return piece.text
    return Array.isArray(piece) ? piece.map(text).join('') : escaped(String(piece))
  }
  return new Html(strings.reduce((all, string, i) => all + string + (i < pieces.length ? text(pieces[i] as Piece) : ''), ''))
}

const STYLE = `
:root { color-scheme: light dark; --text: #1c2024; --muted: #5c6570; --line: #dde1e6; --page: #ffffff; --card: #f6f7f9; --good: #2b8a5b; --bad: #c0362c; --warn: #d9820f; --calm: #3b74c4; --shade1: #fbd9a7; --shade2: #f4aa5b; --shade3: #e06b32; --shade4: #a92c1f; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --muted: #9aa4b0; --line: #363c45; --page: #16191d; --card: #1f242a; --good: #4fb98a; --bad: #f0685c; --warn: #eda545; --calm: #74a7ee; --shade1: #5a3d1c; --shade2: #95591f; --shade3: #d4702c; --shade4: #ff8f5f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; }
.muted { color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
figure { margin: 0; }
.chart svg { display: block; width: 100%; height: auto; }
.narrow { display: none; }
@media screen and (max-width: 36rem) { .wide { display: none; } .narrow { display: block; } }
.scrolls { position: relative; overflow-x: auto; }
.scrolls:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .5rem 0; font-size: .85rem; color: var(--muted); }
.key i { display: inline-block; width: .9rem; height: .7rem; border-radius: 2px; margin-right: .35rem; }
table { margin-bottom: .75rem; border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th[scope=row] { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; max-width: 22rem; }
td.now { white-space: normal; min-width: 8.5rem; }
td.text { text-align: left; white-space: normal; min-width: 12rem; overflow-wrap: anywhere; }
th button { all: unset; cursor: pointer; font: inherit; }
th button:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; }
th button::after { content: "\\2195"; color: var(--muted); margin-left: .25rem; }
th[aria-sort=ascending] button::after { content: "\\2191"; color: var(--text); }
th[aria-sort=descending] button::after { content: "\\2193"; color: var(--text); }

.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.down { color: var(--bad); font-weight: 600; }
details { margin: .5rem 0; font-size: .9rem; }
summary { cursor: pointer; color: var(--muted); }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: .15em; }
nav { margin: .25rem 0 1rem; }
nav a, nav b { margin-right: .75rem; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; }
footer { margin-top: 3rem; font-size: .85rem; color: var(--muted); }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 11pt; } details, th button::after { display: none; } section, figure, tr { break-inside: avoid; } .scrolls { overflow: visible; } }
`

/**
 * Sorts a table by the clicked column, numerically or as text. A page of a worker also reads itself anew each minute: its place, open parts,
 * order and focus stay.
 */
export const SCRIPT = `
const sort = (table, column, up) => {
  const head = table.tHead.rows[0].cells[column];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = isNaN(x) || isNaN(y) ? String(x).localeCompare(String(y)) : x - y;
    return up ? order : -order;
  });
  table.tBodies[0].append(...rows);
};
document.addEventListener('click', ({ target }) => {
  const head = target.closest?.('table.sorts th');
  if (head && target.closest('button')) sort(head.closest('table'), head.cellIndex, head.getAttribute('aria-sort') === 'descending');
});
const headingOf = (element) => element.closest('section')?.querySelector('h2')?.textContent + ' ';
const keyOf = (element) => headingOf(element) + element.tagName + element.textContent;
const FOCUSABLE = 'a, button, summary';
const refresh = async () => {
  const main = document.querySelector('main');
  if (document.hidden || !getSelection().isCollapsed) return;
  const answer = await fetch(location.href, { headers: { accept: 'text/html' } }).catch(() => null);
  const asOf = document.querySelector('#as-of');
  if (!answer?.ok) {
    if (asOf) asOf.textContent = asOf.dataset.failed;
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const next = fresh.querySelector('main');
  if (!next) return;
  const open = new Set([...main.querySelectorAll('details[open] > summary')].map(keyOf));
  for (const summary of next.querySelectorAll('details > summary')) summary.parentElement.open = open.has(keyOf(summary));
  const orders = [...main.querySelectorAll('table.sorts th[aria-sort]')].map((head) => [headingOf(head), head.cellIndex, head.getAttribute('aria-sort')]);
  for (const table of next.querySelectorAll('table.sorts'))
    for (const [heading, column, order] of orders) if (headingOf(table) === heading) sort(table, column, order === 'ascending');
  const focused = main.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  const scrolled = [...main.querySelectorAll('.scrolls')].map((one) => one.scrollLeft);
  const top = scrollY;
  main.replaceWith(next);
  next.querySelectorAll('.scrolls').forEach((one, i) => { one.scrollLeft = scrolled[i] ?? 0; });
  scrollTo(scrollX, top);
  if (focused !== null) [...next.querySelectorAll(FOCUSABLE)].find((one) => keyOf(one) === focused)?.focus({ preventScroll: true });
  const said = fresh.querySelector('#as-of');
  if (asOf && said) asOf.textContent = said.textContent;
};
if (document.body.dataset.refresh) setInterval(refresh, Number(document.body.dataset.refresh));
`

const HASH = createHash('sha256').update(SCRIPT).digest('base64')
const BASE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

/** What the page may load: a file its own script by its hash, a page of a worker that of the worker. */
export const CSP = { file: `${BASE}; script-src 'sha256-${HASH}'`, live: `${BASE}; script-src 'self'; connect-src 'self'` } as const

const REFRESH_MS = 60_000

/** The complete page: a file loads no other resources; a page of a worker (`isLive`) its script, and itself anew. */
export function page(title: string, body: Html, isLive = false): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${isLive ? CSP.live : CSP.file}">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body${isLive ? ` data-refresh="${REFRESH_MS}"` : ''}>
${body.text}
<script${isLive ? ' src="/report.js" defer></script>' : `>${SCRIPT}</script>`}
</body>
</html>
`
}
