/** What is used of mbox-reader, which brings no typings of its own. */
declare module 'mbox-reader' {
  export function mboxReader(source: NodeJS.ReadableStream): AsyncIterable<{ readonly content: Buffer }>
}
