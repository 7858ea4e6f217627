/** Building blocks of the configuration schema: the kinds of values, each with a sentence that says what is wrong. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { formatDuration, parseDuration } from '../bounce/index.js'

/** The schema, followed by `parse`; what it throws is the fault. */
export const parsedFrom = <Schema extends z.ZodType, T>(schema: Schema, parse: (value: z.output<Schema>) => T) =>
  schema.transform((value, context): T => {
    try {
      return parse(value)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
      return z.NEVER
    }
  })

/** Schema of a text that `parse` reads. */
export const parsed = <T>(parse: (text: string) => T) => parsedFrom(z.string(), parse)

/** A duration such as `90s`, `4h` or `1h30m`, in ms. */
export const duration = (leastMs: number, mostMs: number) =>
  parsed((text) => {
    const ms = parseDuration(text)
    if (ms < leastMs || ms > mostMs) throw new Error(`it must be from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`)
    return ms
  })

export const integer = (least: number, most: number) => {
  const error = `it must be a whole number from ${least} to ${most}`
  return z.int({ error }).min(least, { error }).max(most, { error })
}

export const flag = z.boolean({ error: 'it must be true or false' })

/** One of these words. */
export const oneOf = <const Words extends readonly string[]>(words: Words) =>
  z.enum(words, { error: `it must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}` })

/** A name that is compared without regard to case. */
export const caselessName = parsed((text) => text.trim().toLowerCase())
export const names = z.array(caselessName)

/** A text that matches the pattern. */
export const matching = (pattern: RegExp, form: string) =>
  parsed((text) => {
    if (!pattern.test(text)) throw new Error(`it must be ${form}`)
    return text
  })

/** The content of a PEM file. */
export const fileContent = parsed((path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(`the file cannot be read: ${(error as Error).message}`)
  }
})

/** A setting: describes its schema for the docs, `softbounce config` and the JSON Schema. */
export const setting = <S extends z.ZodType>(doc: string, schema: S): S => schema.meta({ description: doc })

/** A setting that is masked wherever it is shown, and that `SOFTBOUNCE_..._FILE` may name a file for. */
export const secret = <S extends z.ZodType>(doc: string, schema: S): S => schema.meta({ description: doc, writeOnly: true })

/** Settings that belong together. */
export const section = <Shape extends z.ZodRawShape>(doc: string, shape: Shape) =>
  z
    .strictObject(shape)
    .prefault({} as never)
    .meta({ description: doc })

/** Whether the host is this machine's loopback. */
export const isLoopback = (host: string) => /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)

/** Where a server listens. */
export type Listen = { readonly host: string; readonly port: number } | { readonly path: string }

/** @throws Error if it is neither `127.0.0.1:2003`, `[::1]:2003` nor `unix:/path`. */
export function parseListen(text: string): Listen {
  if (text.startsWith('unix:')) {
    if (!text.startsWith('unix:/')) throw new Error('after unix: there must be an absolute path')
    return { path: text.slice(5) }
  }
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65_535) throw new Error('it must be host:port, or unix:/path')
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port }
}

/** What to do about a password that a URL cannot hold as it is. */
const PERCENT_ENCODE = 'in its user and password, write # as %23, / as %2F, : as %3A, ? as %3F, @ as %40 and % as %25'

/**
 * A URL with a login in it.
 * @throws Error with `form`, or that the password must be percent-encoded.
 */
export function parseLoginUrl(text: string, schemes: readonly string[], form: string): URL {
  const [, scheme, authority, rest] = /^([a-z]+):\/\/([^/?#]*)(.*)$/s.exec(text) ?? []
  if (scheme === undefined || authority === undefined || rest === undefined || !schemes.includes(scheme)) throw new Error(form)
  // a raw /, ? or # in a password ends the authority early, and its @ stands behind that
  const [path = ''] = rest.split('?')
  const cut = authority.split('@').length > 2 || path.includes('@') || (!authority.includes('@') && rest.includes('@'))
  if (cut || /%(?![0-9A-Fa-f]{2})/.test(authority)) throw new Error(PERCENT_ENCODE)
  if (!URL.canParse(text) || new URL(text).hostname === '') throw new Error(form)
  return new URL(text)
}

export const SECOND = 1000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
