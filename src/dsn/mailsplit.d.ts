/** Typings for what we use of mailsplit, which ships none. */
declare module 'mailsplit' {
  import type { Transform } from 'node:stream'

  /** A part's header; its body follows as `BodyChunk`s. */
  export interface Node {
    readonly type: 'node'
    readonly headers: Headers
    readonly parentNode: Node | false
    /** The header as it came. */
    getHeaders(): Buffer
    readonly multipart: string | false
    readonly contentType: string | false
    readonly encoding: string
    readonly charset: string | false
  }
  export interface BodyChunk {
    readonly type: 'body' | 'data'
    readonly node: Node
    readonly value: Buffer
  }
  export class Splitter extends Transform {
    constructor(options: { ignoreEmbedded: boolean; maxHeadSize: number; maxChildNodes: number })
  }
  export class Headers {
    constructor(head: Buffer)
    /** Fields in order; `line` is a binary string, still folded. */
    getList(): { readonly key: string; readonly line: string }[]
  }
}
