/** The records of a JSON export, one after another, in constant memory: JSON lines, an array of objects, or an object with such an array. */

const MAX_RECORD = 1_000_000
const HAS_ADDRESS = /"(?:e-?mail|address|email_?address|recipient)"\s*:/i

/** @throws Error if it is no JSON, or a record is too long. */
export async function* jsonRecords(text: AsyncIterable<string>): AsyncGenerator<Record<string, unknown>> {
  /** What encloses the next character: objects and arrays. */
  const open: string[] = []
  let record = ''
  /** The depth at which the record began; -1 outside of one. */
  let from = -1
  let inText = false
  let escaped = false
  for await (const chunk of text)
    for (const c of chunk) {
      if (from >= 0) record += c
      if (record.length > MAX_RECORD) throw new Error(`a record of the list is longer than ${MAX_RECORD} characters`)
      if (inText) {
        if (escaped) escaped = false
        else if (c === '\\') escaped = true
        else if (c === '"') inText = false
        continue
      }
      if (open.length === 0 && !/[\s,[{\ufeff]/.test(c)) throw new Error(`the list is no JSON: ${JSON.stringify(c)} stands between records`)
      if (c === '"') inText = true
      else if (c === '{') {
        // an object in an array of the outermost object is a record, and that object only wraps it, unless it has an address itself
        if (from < 0 || (from === 0 && open.at(-1) === '[' && !HAS_ADDRESS.test(record))) {
          from = open.length
          record = c
        }
        open.push(c)
      } else if (c === '[') open.push(c)
      else if (c === ']' || c === '}') {
        if (open.pop() !== (c === ']' ? '[' : '{')) throw new Error('the list is no JSON: a bracket does not match')
        if (c === '}' && open.length === from) {
          yield JSON.parse(record)
          from = -1
          record = ''
        }
      }
    }
  if (open.length > 0 || inText) throw new Error('the list is no JSON: it ends within a record')
}
