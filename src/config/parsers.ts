/** Zod schemas and parsers for single settings; error messages are readable sentences. */
import { z } from 'zod'
import { formatDuration, parseDuration } from '../bounce/index.js'
import type { NextHop } from '../delivery/index.js'

const fail = (ctx: z.RefinementCtx, error: unknown) => {
  ctx.addIssue({ code: 'custom', message: (error as Error).message })
  return z.NEVER
}

/** A schema from a parser that throws. */
export const parsed = <T>(parse: (text: string) => T) =>
  z.string().transform((text, ctx): T => {
    try {
      return parse(text)
    } catch (error) {
      return fail(ctx, error)
    }
  })

export const duration = (leastMs: number, mostMs: number) =>
  parsed((text) => {
    const ms = parseDuration(text)
    if (ms < leastMs || ms > mostMs) throw new Error(`it must be from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`)
    return ms
  })

export const integer = (least: number, most: number) =>
  parsed((text) => {
    const value = Number(text)
    if (!/^\d{1,9}$/.test(text) || value < least || value > most) throw new Error(`it must be a whole number from ${least} to ${most}`)
    return value
  })

export const flag = parsed((text) => {
  if (text === 'true' || text === 'yes' || text === '1') return true
  if (text === 'false' || text === 'no' || text === '0' || text === '') return false
  throw new Error('it must be true or false')
})

export const names = parsed((text) =>
  text
    .split(/[\s,]+/)
    .filter((name) => name !== '')
    .map((name) => name.toLowerCase()),
)

/** Whether the host is this machine's loopback. */
export const isLoopback = (host: string) => /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)

/** Where a server listens. */
export type Listen = { readonly host: string; readonly port: number } | { readonly path: string }

/** `127.0.0.1:2003`, `[::1]:2003` or `unix:/path`; null if it is empty. */
export function parseListen(text: string): Listen | null {
  if (text === '') return null
  if (text.startsWith('unix:')) {
    if (!text.startsWith('unix:/')) throw new Error('after unix: there must be an absolute path')
    return { path: text.slice(5) }
  }
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+):(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65_535) throw new Error('it must be host:port, or unix:/path')
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port }
}

/** Keys in base64, separated by commas. */
export function parseKeys(text: string): readonly Buffer[] {
  return text
    .split(/[\s,]+/)
    .filter((key) => key !== '')
    .map((key) => {
      const bytes = /^[A-Za-z0-9+/_-]+={0,2}$/.test(key) ? Buffer.from(key, 'base64') : Buffer.alloc(0)
      if (bytes.length < 16) throw new Error('each key must be base64 of at least 16 bytes (openssl rand -base64 32)')
      return bytes
    })
}

export const SECOND = 1000
const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
export const smtpTimeout = duration(SECOND, HOUR)

/** `smtp://user:password@host:587`. */
export function parseRelayUrl(text: string): Omit<NextHop, 'kind' | 'tls' | 'ca'> & { readonly implicitTls: boolean } {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^smtps?:$/.test(url.protocol) || url.hostname === '')
    throw new Error('it must be smtp://host:port or smtps://host:port, with user:password@ before the host where the relay wants a login')
  if (url.pathname.length > 1 || url.search !== '' || url.hash !== '') throw new Error('nothing may follow the port')
  const implicitTls = url.protocol === 'smtps:'
  const credentials = url.username === '' ? undefined : { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) }
  if (credentials !== undefined && credentials.pass === '') throw new Error('it has a user and no password')
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (implicitTls ? 465 : 25) : Number(url.port),
    implicitTls,
    ...(credentials === undefined ? {} : { credentials }),
  }
}
