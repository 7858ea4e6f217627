/** What is used of mailsplit, which brings no typings of its own. */
declare module 'mailsplit' {
  import type { Transform } from 'node:stream'

  /** A part's head; the body comes in `BodyChunk`s behind it. */
  export interface Node {
    readonly type: 'node'
    readonly headers: Headers
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
    /** Fields in their order; `line` is a byte string, folded. */
    getList(): { readonly key: string; readonly line: string }[]
  }
}
