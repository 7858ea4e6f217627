/** Who may read the report, which names addresses: a browser on this machine, or one with the token. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Why a request is refused, as its answer. */
export interface AccessDenied {
  readonly status: 401 | 403
  readonly text: string
  readonly headers: Readonly<Record<string, string>>
}

const TEXT = { 'content-type': 'text/plain; charset=utf-8' }

export const equalInConstantTime = (a: string, b: string): boolean => {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/**
 * With a token: it must come as `Authorization: Bearer`, or as the password of a browser's login (Basic; any user). Without one: the request
 * must come from this machine, by a name of this machine (a web page that points its own name here is refused), and through no proxy.
 * @returns null if the request may be answered.
 */
export function accessDenied({ headers, socket }: IncomingMessage, token: string | null): AccessDenied | null {
  // a page elsewhere may link here, but not fetch: it could not read the answer, only keep the worker busy
  const isEmbedded = headers['sec-fetch-mode'] !== undefined && headers['sec-fetch-mode'] !== 'navigate'
  if (isEmbedded && !['same-origin', 'none'].includes(String(headers['sec-fetch-site'] ?? 'same-origin')))
    return { status: 403, text: 'the report is not for pages of other sites', headers: TEXT }
  if (token !== null) {
    const [scheme = '', value = ''] = (headers.authorization ?? '').split(' ')
    const given = scheme.toLowerCase() === 'basic' ? passwordOf(value) : scheme.toLowerCase() === 'bearer' ? value : ''
    if (equalInConstantTime(given, token)) return null
    return {
      ...{ status: 401, text: 'set http.token as the password, or as Authorization: Bearer' },
      headers: { ...TEXT, 'www-authenticate': 'Basic realm="softbounce", charset="UTF-8"' },
    }
  }
  const isForwarded = Object.keys(headers).some((name) => FORWARDED.test(name))
  if (isLocal(socket.remoteAddress ?? '') && isLocalName(headers.host ?? '') && !isForwarded) return null
  return { status: 403, text: 'the report is shown on this machine only, as long as http.token is not set', headers: TEXT }
}

function passwordOf(basic: string): string {
  const login = Buffer.from(basic, 'base64').toString('utf8')
  return login.slice(login.indexOf(':') + 1)
}

/** Fields that proxies add. */
const FORWARDED = /^(?:forwarded|via|x-real-ip|x-forwarded-.*)$/

const isLocal = (address: string) => /^(?:::ffff:)?127\.|^::1$/.test(address)
const isLocalName = (host: string) => /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
