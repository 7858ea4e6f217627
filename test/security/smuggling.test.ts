/** SMTP smuggling: only CRLF.CRLF ends a message, sent or received. STARTTLS: replies injected before TLS are discarded. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canonicalMessage, DEFAULT_TIMEOUTS, transact, UnsendableMessage } from '../../src/delivery/index.js'
import { makeCertificates } from '../support/certificates.js'
import { type RealWorld, startRealWorld, type WorkerProcess } from '../support/real-time.js'
import { polite, type Script, startScript } from '../support/receiving-system.js'

const SMUGGLED = 'MAIL FROM:<evil@example.com>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nFrom: evil\r\n\r\nsmuggled\r\n'
/** Sequences that some servers accept as the end of a message. */
const ENDS = ['\n.\n', '\n.\r\n', '\r.\r', '\r\n.\r', '\r\n.\n', '\r.\n', '\r\n\0.\r\n', '\n.\r']
const times = {
  ...DEFAULT_TIMEOUTS,
  connectMs: 2000,
  bannerMs: 2000,
  greetingMs: 2000,
  mailMs: 2000,
  rcptMs: 2000,
  dataMs: 2000,
  finalDotMs: 2000,
}
const transaction = (port: number, content: Buffer, more: object = {}) => ({
  ...{ ehloDomain: 'softbounce.example.com', timeouts: times, sender: 'shop@example.com', recipient: 'ann@example.org', content },
  path: { kind: 'relay' as const, host: '127.0.0.1', port, tls: 'off' as const },
  beforeContent: async () => true,
  signal: new AbortController().signal,
  ...more,
})

describe('what we send', () => {
  test.each(ENDS)('%j in a message does not end it', async (end) => {
    let bytes = ''
    const system = await startScript((line, socket) => {
      const hear = (chunk: Buffer) => {
        bytes += chunk.toString('latin1')
      }
      if (line === '') socket.on('data', hear)
      return polite(line)
    })
    let content: Buffer | null = null
    try {
      content = canonicalMessage(Buffer.from(`From: a@example.com\r\n\r\nhello${end}${SMUGGLED}`, 'latin1'))
    } catch (error) {
      expect(error).toBeInstanceOf(UnsendableMessage)
    }
    if (content !== null) {
      expect((await transact(transaction(system.port, content))).kind).toBe('reply')
      const body = bytes.slice(bytes.indexOf('From: a@example.com'))
      // one end of data, at the end, and no bare CR or LF before it
      expect(body.split('\r\n.\r\n')).toHaveLength(2)
      expect(body.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/)
    }
    await system.close()
  })
})

describe('what we take by LMTP', () => {
  let world: RealWorld
  let intake: WorkerProcess
  beforeAll(async () => {
    world = await startRealWorld({ SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 7).toString('base64'), SOFTBOUNCE_LOG_LEVEL: 'info' })
    intake = await world.startIntake(['--lmtp', '127.0.0.1:0'])
  })
  afterAll(() => world.close())

  test.each(ENDS)('%j does not end a message', async (end) => {
    const port = Number(/"lmtp":"127\.0\.0\.1:(\d+)"/.exec(intake.log())?.[1])
    const replies = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      let heard = ''
      const steps = [
        'LHLO x\r\n',
        'MAIL FROM:<>\r\n',
        'RCPT TO:<nobody@example.com>\r\n',
        'DATA\r\n',
        `From: a@example.com\r\n\r\nhello${end}MAIL FROM:<>\r\nRCPT TO:<second@example.com>\r\nDATA\r\nFrom: b\r\n\r\nx\r\n.\r\nQUIT\r\n`,
      ]
      socket.on('data', (chunk) => {
        heard += chunk.toString()
        if (/^\d{3} .*\r\n$/m.test(heard.slice(heard.lastIndexOf('\n', heard.length - 2) + 1))) {
          const next = steps.shift()
          if (next !== undefined) socket.write(Buffer.from(next, 'latin1'))
        }
      })
      socket.on('close', () => resolve(heard))
      socket.on('error', reject)
    })
    // one message, one reply for its one recipient, then QUIT
    expect(replies.match(/^250 2\.0\.0 unauthenticated/gm)).toHaveLength(1)
    expect(replies).not.toContain('second@example.com')
    const rows = (await world.cli('bounces', '--json', '--limit', '1')).stdout
    expect(JSON.parse(rows)).toMatchObject({ cameTo: 'nobody@example.com' })
  })
})

describe('STARTTLS', () => {
  const { key, cert, ca } = makeCertificates(['IP:127.0.0.1'])

  test('replies injected after the STARTTLS reply are not accepted as replies within TLS', async () => {
    const { TLSSocket } = await import('node:tls')
    const heard: string[] = []
    const system: Script = await startScript((line, socket) => {
      if (line.startsWith('EHLO')) return '250-mx.example.org\r\n250 STARTTLS\r\n'
      if (line !== 'STARTTLS') return polite(line)
      // injected replies to the expected EHLO and MAIL
      socket.write('220 go on\r\n250-injected.example\r\n250 SIZE 1\r\n250 2.1.0 injected\r\n')
      socket.removeAllListeners('data')
      const secure = new TLSSocket(socket, { isServer: true, key, cert })
      secure.on('error', () => {})
      secure.on('data', (chunk) => {
        for (const one of chunk
          .toString()
          .split('\r\n')
          .filter((l: string) => l !== '')) {
          heard.push(one)
          secure.write(one.startsWith('MAIL') ? '550 5.7.1 not from you\r\n' : (polite(one) ?? ''))
        }
      })
      return undefined
    })
    const path = { kind: 'system' as const, host: '127.0.0.1', port: system.port, tls: 'verify' as const, ca }
    const content = canonicalMessage(Buffer.from('From: a@example.com\r\n\r\nhello\r\n'))
    const dialogue = await transact(transaction(system.port, content, { path }))
    expect(dialogue).toMatchObject({ kind: 'reply', at: 'MAIL', reply: { code: 550, status: '5.7.1' } })
    expect(heard.map((line) => line.slice(0, 4)).slice(0, 2)).toEqual(['EHLO', 'MAIL'])
    expect(heard.some((line) => line.startsWith('RCPT'))).toBe(false)
    expect(system.heard.some((line) => line.startsWith('MAIL'))).toBe(false)
    await system.close()
  })

  test('a relay with STARTTLS stripped gets neither password nor mail', async () => {
    const system = await startScript(polite)
    const path = { kind: 'relay' as const, host: '127.0.0.1', port: system.port, tls: 'verify' as const, ca }
    const content = canonicalMessage(Buffer.from('From: a@example.com\r\n\r\nhello\r\n'))
    expect((await transact(transaction(system.port, content, { path }))).kind).toBe('policy')
    expect(system.heard.some((line) => line.startsWith('MAIL'))).toBe(false)
    await system.close()
  })
})
