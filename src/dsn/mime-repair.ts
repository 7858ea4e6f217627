/** Repairs damage that mails show in life, before they are split into parts: line ends, charset of the whole, MIME structure. */

/** Bytes searched for damage in MIME headers. Beyond them a mail is left as it is: notices are short. */
const SEARCHED_BYTES = 256 * 1024
const LF = 0x0a
const CR = 0x0d

/** Rewrites lines that end in a bare CR (classic Mac OS) or in CR CR LF, and a mail that is UTF-16 as a whole. */
export function withLineEnds(mail: Buffer): Buffer {
  let bytes = mail
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    bytes = Buffer.from(new TextDecoder(bytes[0] === 0xff ? 'utf-16le' : 'utf-16be').decode(bytes), 'utf8')
  if (bytes.includes('\r\r\n')) bytes = Buffer.from(bytes.toString('latin1').replaceAll('\r\r\n', '\r\n'), 'latin1')
  return endsInBareCr(bytes) ? Buffer.from(bytes.toString('latin1').replace(/\r\n?/g, '\n'), 'latin1') : bytes
}

/** Whether most lines at the beginning of a mail end in a bare CR. */
function endsInBareCr(bytes: Buffer): boolean {
  let bare = 0
  const end = Math.min(bytes.length, SEARCHED_BYTES)
  for (let at = bytes.indexOf(CR); at >= 0 && at < end; at = bytes.indexOf(CR, at + 1)) bare += bytes[at + 1] === LF ? -1 : 1
  if (bare <= 0) return false
  for (let at = bytes.indexOf(LF); at >= 0 && at < end; at = bytes.indexOf(LF, at + 1)) if (bytes[at - 1] !== CR) bare -= 1
  return bare > 0
}

/** A parameter of Content-Type on a line that lost the space which folds it. */
const LOST_FOLD = /^(content-type:[^\r\n]{0,500}\r?\n)(?=(?:boundary|report-type|charset)=)/gim
/** A multipart's parameter without the semicolon before it. */
const LOST_SEMICOLON = /^(content-type:[ \t]{0,9}multipart\/[a-z-]{1,40})[ \t]{1,9}(?=[a-z-]{1,20}=)/gim
/** The first boundary line of a body: followed by a part's header. */
const BOUNDARY_LINE = /^--([^\s"]{1,200})[ \t]{0,9}\r?\ncontent-[a-z-]{1,40}:/im

/** Repairs the header lines that name the MIME structure. The mail must have line feeds (withLineEnds). */
export function withStructure(mail: Buffer, bodyAt: number): Buffer {
  const searched = mail.subarray(0, SEARCHED_BYTES).toString('latin1')
  if (!/multipart\//i.test(searched)) return mail
  let text = searched.replace(LOST_FOLD, '$1 ').replace(LOST_SEMICOLON, '$1; ')
  text = withRealBoundary(text, bodyAt)
  return text === searched ? mail : Buffer.concat([Buffer.from(text, 'latin1'), mail.subarray(SEARCHED_BYTES)])
}

/** If no line has the boundary that the mail's header names, or the header names none, puts the boundary that the body shows. */
function withRealBoundary(text: string, bodyAt: number): string {
  const head = text.slice(0, Math.max(bodyAt, 0))
  const type = /^content-type:[ \t]{0,9}multipart\/[^\n;]{1,60}/im.exec(head)
  if (type === null) return text
  const named = boundaryIn(head.slice(type.index, type.index + 1000))
  if (named !== undefined && text.includes(`\n--${named}`)) return text
  const shown = BOUNDARY_LINE.exec(text.slice(head.length))?.[1]
  if (shown === undefined) return text
  const end = type.index + type[0].trimEnd().length
  return `${text.slice(0, end)}; boundary="${shown}"${text
    .slice(end)
    .replace(/^;?[ \t]{0,9}/, ';')
    .replace(/boundary=/i, 'x-boundary=')}`
}

/** The boundary that a Content-Type field names: the text begins with that field. */
function boundaryIn(text: string): string | undefined {
  const field = text.split(/\n(?![ \t])/, 1)[0] as string
  const at = field.toLowerCase().indexOf('boundary=')
  return at < 0 ? undefined : /^["']?([^"'\s;]{1,200})/.exec(field.slice(at + 'boundary='.length))?.[1]
}

const FIELD = /^[!-9;-~]{1,80}[ \t]{0,9}:/

/**
 * The text of a part that lost its header: what stands right behind its boundary is no field, so that it belongs to the body. Null if the
 * part has a header.
 */
export function headless(head: Buffer): Buffer | null {
  const first = head.toString('latin1', 0, 1000).split(/\r?\n/, 1)[0] ?? ''
  return first.trim() === '' || FIELD.test(first) ? null : head
}

/** Texts of base64 that were joined into one, at most. */
const MAX_RUNS = 100

/** Base64, also with text that was cut or joined; other text that only claims to be base64 is left as it is. */
export function fromBase64(raw: Buffer): Buffer {
  const text = raw.toString('latin1')
  const sample = text.slice(0, 4000)
  // a line of base64 holds no space, and nothing of prose
  if (/[A-Za-z]{2} [A-Za-z]{2}|[<>@]/.test(sample)) return raw
  const runs = text.split(/=+/, MAX_RUNS)
  return runs.length === MAX_RUNS ? Buffer.from(text, 'base64') : Buffer.concat(runs.map((run) => Buffer.from(run, 'base64')))
}
