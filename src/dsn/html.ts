/** The text of an HTML notice, line by line as a person sees it. */

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
  commat: '@',
  period: '.',
  colon: ':',
}
const HIDDEN = new Set(['style', 'script', 'head', 'title'])
const LINE_ENDS = new Set('p div br tr li ul ol h1 h2 h3 h4 h5 h6 table blockquote pre hr section center'.split(' '))

/** Removes the tags; elements that begin a line in a browser begin one here. */
export function textOfHtml(html: string): string {
  return withoutTags(onOneLine(html))
    .replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,8}));/gi, (whole, hex, decimal, name) => {
      if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
      return code > 0 && code <= 0x10ffff ? (code === 0xa0 ? ' ' : String.fromCodePoint(code)) : whole
    })
    .split('\n')
    .map((line) => line.trimEnd().replace(/^ /, ''))
    .join('\n')
}

/** Line ends are spaces, but for those of preformatted text. */
function onOneLine(html: string): string {
  return html
    .split(/(?=<\/?pre\b)/i)
    .map((text) => (/^<pre\b/i.test(text) ? text.replace(/\r?\n/g, '<br>') : text.replace(/\s/g, ' ')))
    .join('')
}

function withoutTags(html: string): string {
  // ASCII alone, so that no letter changes its length
  const lower = html.replace(/[A-Z]/g, (c) => c.toLowerCase())
  const text: string[] = []
  let at = 0
  // the next `>`, looked for once for all `<` before it
  let close = -1
  while (at < html.length) {
    const open = html.indexOf('<', at)
    if (open >= 0 && close < open) close = html.indexOf('>', open)
    if (open < 0 || close < 0) {
      text.push(html.slice(at))
      break
    }
    text.push(html.slice(at, open))
    const name = /^<\/?([a-z!][a-z0-9]{0,15})/.exec(lower.slice(open, open + 20))?.[1]
    at = close + 1
    // `a < b`, or an address in brackets that are not written as entities
    if (name === undefined || isAddress(html.slice(open + 1, Math.min(close, open + 400)))) {
      text.push('<')
      at = open + 1
    } else if (LINE_ENDS.has(name)) text.push('\n')
    else if ((name === 'td' || name === 'th') && lower.charAt(open + 1) === '/') text.push('\t')
    else if (HIDDEN.has(name) && lower.charAt(open + 1) !== '/') {
      // an element whose content is not shown; one that is never closed hides the rest
      const end = lower.indexOf(`</${name}`, at)
      if (end < 0) break
      at = end
    }
  }
  return text.join('').replace(/ {2,}/g, ' ')
}

const isAddress = (inside: string): boolean => inside.includes('@') && !/[\s"=/:]/.test(inside)
