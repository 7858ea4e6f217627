/** Reads mails from single files, standard input, mbox files and Maildirs. */
import { createReadStream } from 'node:fs'
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandFailed } from './output.js'

/** A mail, the path of its file, and in an mbox its number. */
export interface NamedMail {
  readonly file: string
  readonly number?: number
  readonly mail: Buffer
}

/**
 * The mails of a path: `-` for standard input, a file with one mail, an mbox file (begins with `From `), or a Maildir.
 * @throws Error if it cannot be read.
 */
export async function* mailsOf(path: string): AsyncGenerator<NamedMail> {
  if (path === '-') {
    const chunks: Buffer[] = []
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
    const mail = Buffer.concat(chunks)
    if (startsAsMbox(mail)) yield* fromMbox(path, mail)
    else yield { file: path, mail }
  } else if ((await stat(path)).isDirectory()) yield* fromMaildir(path)
  else if (await isMbox(path)) yield* fromMbox(path, createReadStream(path))
  else yield { file: path, mail: await readFile(path) }
}

const startsAsMbox = (bytes: Buffer) => bytes.subarray(0, 5).toString('latin1') === 'From '

async function isMbox(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer } = await file.read({ buffer: Buffer.alloc(5), length: 5 })
    return startsAsMbox(buffer)
  } finally {
    await file.close()
  }
}

async function* fromMbox(path: string, source: Buffer | NodeJS.ReadableStream): AsyncGenerator<NamedMail> {
  const { Readable } = await import('node:stream')
  const { mboxReader } = await import('mbox-reader')
  let number = 0
  for await (const { content } of mboxReader(Buffer.isBuffer(source) ? Readable.from([source]) : source)) {
    number += 1
    yield { file: path, number, mail: content }
  }
}

async function* fromMaildir(path: string): AsyncGenerator<NamedMail> {
  let found = false
  for (const folder of ['new', 'cur']) {
    const names = await readdir(join(path, folder)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    })
    if (names === null) continue
    found = true
    for (const name of names.filter((n) => !n.startsWith('.')).sort())
      yield { file: join(path, folder, name), mail: await readFile(join(path, folder, name)) }
  }
  if (!found) throw new CommandFailed(`${path} is a folder without new/ and cur/, so it is no Maildir`)
}
