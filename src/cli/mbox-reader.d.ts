/** Typings for the part of mbox-reader in use; the package has none. */
declare module 'mbox-reader' {
  export function mboxReader(source: NodeJS.ReadableStream): AsyncIterable<{ readonly content: Buffer }>
}
