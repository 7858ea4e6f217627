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
const HIDDEN = /<(style|script|head|title)\b[^>]{0,1000}>/gi
const LINE_END = /<\/?(?:p|div|br|tr|li|ul|ol|h[1-6]|table|blockquote|pre|hr|section|center)\b[^>]{0,2000}>/gi
const TAG = /<\/?[a-z!][^<>]{0,2000}>/gi

/** Removes the tags; elements that begin a line in a browser begin one here. */
export function textOfHtml(html: string): string {
  return (
    withoutHidden(html)
      .replace(/[ \t\r\n]+/g, ' ')
      .replace(LINE_END, '\n')
      .replace(/<\/t[dh]>/gi, ' ')
      // an address in angle brackets is written with entities; what is left in brackets and holds an @ is a sloppy one
      .replace(TAG, (tag) => (/^<[^\s<>"=/]{1,64}@[^\s<>"=]{1,253}>$/.test(tag) ? tag : ''))
      .replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,8}));/gi, (whole, hex, decimal, name) => {
        if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole
        const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
        return code > 0 && code <= 0x10ffff ? (code === 0xa0 ? ' ' : String.fromCodePoint(code)) : whole
      })
      .replace(/ {0,9}\n {0,1}/g, '\n')
  )
}

/** Cuts elements whose content is not shown; one that is never closed hides the rest. */
function withoutHidden(html: string): string {
  const lower = html.toLowerCase()
  let text = ''
  let at = 0
  HIDDEN.lastIndex = 0
  for (let match = HIDDEN.exec(html); match !== null; match = HIDDEN.exec(html)) {
    if (match.index < at) continue
    text += html.slice(at, match.index)
    const close = lower.indexOf(`</${(match[1] as string).toLowerCase()}`, HIDDEN.lastIndex)
    if (close < 0) return text
    at = html.indexOf('>', close) + 1
    if (at === 0) return text
    HIDDEN.lastIndex = at
  }
  return text + html.slice(at)
}
