import { afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../../dev/dev-server/index.js'
import { type NextHop, type Transaction, type TransactionResult, transact } from '../../src/delivery/index.js'
import { makeCertificates } from '../support/certificates.js'
import { polite, startReceivingSystem, startScript } from '../support/receiving-system.js'
import { QUICK } from '../support/skipping-time.js'

const closers: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const CONTENT = Buffer.from('From: a@example.com\r\nMessage-ID: <m@example.com>\r\n\r\nhello\r\n.dot\r\n')

function send(port: number, more: Partial<Omit<Transaction, 'path'>> & { path?: Partial<NextHop> } = {}): Promise<TransactionResult> {
  const { path, ...rest } = more
  return transact({
    path: { kind: 'system', host: '127.0.0.1', port, tls: 'opportunistic', ...path },
    ehloDomain: 'softbounce.example.com',
    timeouts: QUICK,
    sender: 'bounces@example.com',
    recipient: 'ann@example.org',
    content: CONTENT,
    beforeContent: async () => true,
    ...rest,
  })
}

async function script(play: Parameters<typeof startScript>[0]) {
  const started = await startScript(play)
  closers.push(started.close)
  return started
}

test('a message is delivered with its bytes unchanged', async () => {
  const system = await startReceivingSystem()
  closers.push(system.close)
  const result = await send(system.port)
  expect(result).toMatchObject({
    kind: 'reply',
    at: 'final dot',
    reply: { code: 250, status: '2.0.0' },
    mailServer: `127.0.0.1:${system.port}`,
  })
  expect(system.taken).toHaveLength(1)
  expect(system.taken[0]).toMatchObject({ from: 'bounces@example.com', to: ['ann@example.org'] })
  expect(system.taken[0]?.content.equals(CONTENT)).toBe(true)
})

describe('the stage of a refusal is kept', () => {
  const steps = [
    ['', 'banner'],
    ['EHLO', 'EHLO'],
    ['MAIL', 'MAIL'],
    ['RCPT', 'RCPT'],
    ['DATA', 'DATA'],
    ['.', 'final dot'],
  ] as const
  for (const [command, at] of steps)
    for (const close of [false, true])
      test(`421 4.3.2 at ${at}${close ? ', and the connection closed behind it' : ''}`, async () => {
        const { port } = await script((line, socket) => {
          if (!(command === '' || command === '.' ? line === command : line.startsWith(command))) return polite(line)
          if (!close) return '421 4.3.2 System not accepting network messages\r\n'
          socket.end('421 4.3.2 System not accepting network messages\r\n')
          return undefined
        })
        expect(await send(port)).toMatchObject({ kind: 'reply', at, reply: { code: 421, status: '4.3.2' } })
      })

  test('the stage is kept with pipelined commands too', async () => {
    const pipelining = (line: string) => (line.startsWith('EHLO') ? '250-mx.example.org\r\n250-8BITMIME\r\n250 PIPELINING\r\n' : undefined)
    const mail = await script((line) =>
      line.startsWith('MAIL') ? '452 4.3.2 later\r\n' : line === 'DATA' ? '503 no\r\n' : (pipelining(line) ?? polite(line)),
    )
    expect(await send(mail.port)).toMatchObject({ kind: 'reply', at: 'MAIL', reply: { code: 452 } })
    const rcpt = await script((line) =>
      line.startsWith('RCPT') ? '550 5.1.1 no\r\n' : line === 'DATA' ? '503 no\r\n' : (pipelining(line) ?? polite(line)),
    )
    expect(await send(rcpt.port)).toMatchObject({ kind: 'reply', at: 'RCPT', reply: { code: 550, status: '5.1.1' } })
  })

  test('a multiline reply is kept whole', async () => {
    const { port } = await script((line) =>
      line.startsWith('RCPT') ? '450-4.3.2 one\r\n450-4.3.2 two\r\n450 4.3.2 three\r\n' : polite(line),
    )
    expect(await send(port)).toMatchObject({ kind: 'reply', at: 'RCPT', reply: { text: '450-4.3.2 one\n450-4.3.2 two\n450 4.3.2 three' } })
  })

  test('an unterminated reply line is still read when the connection ends', async () => {
    const { port } = await script((line, socket) => {
      if (!line.startsWith('MAIL')) return polite(line)
      socket.end('421 4.3.2 bye')
      return undefined
    })
    expect(await send(port)).toMatchObject({ kind: 'reply', reply: { code: 421, status: '4.3.2' } })
  })
})

describe('a connection that is lost', () => {
  for (const [command, at] of [
    ['', 'banner'],
    ['EHLO', 'EHLO'],
    ['MAIL', 'MAIL'],
    ['RCPT', 'RCPT'],
    ['DATA', 'DATA'],
  ] as const)
    test(`a connection lost at ${at} is lost before the final dot`, async () => {
      const { port } = await script((line) => ((command === '' ? line === '' : line.startsWith(command)) ? null : polite(line)))
      expect(await send(port)).toMatchObject({ kind: 'lost', at, afterFinalDot: false })
    })

  test('a connection lost during implicit TLS is distinguished from a refused one', async () => {
    const { port } = await script((_, socket) => {
      socket.resetAndDestroy()
      return undefined
    })
    expect(await send(port, { path: { kind: 'relay', tls: 'implicit' } })).toMatchObject({
      kind: 'lost',
      at: 'connect',
      afterFinalDot: false,
    })
  })

  test('an invalid greeting counts as lost at the banner', async () => {
    for (const greeting of ['250 mx.example.org\r\n', '354 go on\r\n', 'HTTP/1.1 400 Bad Request\r\n']) {
      const { port, heard } = await script((line) => (line === '' ? greeting : polite(line)))
      expect(await send(port), greeting).toMatchObject({ kind: 'lost', at: 'banner', afterFinalDot: false })
      expect(heard.some((line) => line.startsWith('MAIL'))).toBe(false)
    }
  })

  test('a message whose connection is lost after the final dot may have been delivered', async () => {
    const { port } = await script((line) => (line === '.' ? null : polite(line)))
    expect(await send(port)).toMatchObject({ kind: 'lost', at: 'final dot', afterFinalDot: true })
  })

  test('a message whose connection is lost in the middle of the content was not delivered', async () => {
    const large = Buffer.concat([CONTENT, Buffer.from('x'.repeat(70).concat('\r\n').repeat(200_000))])
    let heard = 0
    const { port } = await script((line, socket) => {
      if (line === 'DATA')
        socket.on('data', (chunk: Buffer) => {
          heard += chunk.length
          if (heard > 500_000) socket.resetAndDestroy()
        })
      return line.startsWith('EHLO') ? '250 mx.example.org\r\n' : polite(line)
    })
    expect(await send(port, { content: large })).toMatchObject({ kind: 'lost', at: 'DATA', afterFinalDot: false })
  })

  test('a 250 in the middle of the message is no acceptance', async () => {
    const large = Buffer.concat([CONTENT, Buffer.from('x'.repeat(70).concat('\r\n').repeat(200_000))])
    let said = false
    const { port } = await script((line, socket) => {
      if (line === 'DATA')
        socket.once('data', () => {
          socket.pause()
          said = true
          socket.write('250 2.0.0 taken\r\n')
        })
      return line.startsWith('EHLO') ? '250 mx.example.org\r\n' : polite(line)
    })
    const result = await send(port, { content: large })
    expect(said).toBe(true)
    expect(result).toMatchObject({ kind: 'lost', afterFinalDot: false })
  })
})

describe('each stage has its timeout', () => {
  const timeouts = { ...QUICK, bannerMs: 1000, greetingMs: 1000, mailMs: 1000, rcptMs: 1000, dataMs: 1000, finalDotMs: 1000 }
  for (const [command, at, afterFinalDot] of [
    ['', 'banner', false],
    ['EHLO', 'EHLO', false],
    ['MAIL', 'MAIL', false],
    ['RCPT', 'RCPT', false],
    ['DATA', 'DATA', false],
    ['.', 'final dot', true],
  ] as const)
    test(`silence at ${at} times out`, async () => {
      const { port } = await script((line) =>
        (command === '' || command === '.' ? line === command : line.startsWith(command)) ? undefined : polite(line),
      )
      const began = Date.now()
      expect(await send(port, { timeouts })).toMatchObject({ kind: 'lost', at, afterFinalDot })
      expect(Date.now() - began).toBeGreaterThanOrEqual(900)
    })

  test('a server that sends its reply byte by byte times out too', async () => {
    const { port } = await script((line, socket) => {
      if (!line.startsWith('MAIL')) return polite(line)
      const drip = setInterval(() => socket.write('250-wait\r\n'), 200)
      socket.on('close', () => clearInterval(drip))
      return undefined
    })
    expect(await send(port, { timeouts })).toMatchObject({ kind: 'lost', at: 'MAIL' })
  })
})

test('a refused connection is distinguished from an unresolvable host', async () => {
  expect(await send(await freePort())).toMatchObject({ kind: 'refused' })
  const name = await send(25, { path: { host: 'no-such-host.invalid' }, timeouts: QUICK })
  expect(name).toMatchObject({ kind: 'local' })
})

test('a delay on our side before the content is not a server timeout', async () => {
  const { port } = await script((line) => polite(line))
  const slow = await send(port, {
    timeouts: { ...QUICK, dataMs: 300 },
    beforeContent: () => new Promise((resolve) => setTimeout(resolve, 900, true)),
  })
  expect(slow).toMatchObject({ kind: 'reply', reply: { code: 250 } })
  const leaves = await script((line, socket) => {
    if (line === 'DATA') setTimeout(() => socket.destroy(), 2200)
    return polite(line)
  })
  expect(await send(leaves.port, { beforeContent: () => new Promise((resolve) => setTimeout(resolve, 2800, true)) })).toMatchObject({
    kind: 'stopped',
  })
})

test.each([
  ['closes', null, { kind: 'lost', at: 'DATA', afterFinalDot: false }],
  ['refuses', '451 4.3.0 no room\r\n', { kind: 'reply', at: 'DATA', reply: { code: 451, status: '4.3.0' } }],
])('a server that %s right after its 354 reply has answered', async (_, word, expected) => {
  const { port, heard } = await script((line, socket) => {
    if (line !== 'DATA') return polite(line)
    setTimeout(() => (word === null ? socket.destroy() : socket.end(word)), 50)
    return polite(line)
  })
  expect(await send(port, { beforeContent: () => new Promise((resolve) => setTimeout(resolve, 400, true)) })).toMatchObject(expected)
  expect(heard.at(-1)).toBe('DATA')
})

describe('a blocked worker does not cause server timeouts', () => {
  const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  const timeouts = { ...QUICK, mailMs: 300 }

  test.each([500, 1000, 2500])('a reply that arrives while the worker is blocked for %i ms is read', async (ms) => {
    const { port } = await script((line, socket) => {
      if (!line.startsWith('MAIL')) return polite(line)
      socket.write('250 2.1.0 Ok\r\n')
      setImmediate(() => standStill(ms))
      return undefined
    })
    expect(await send(port, { timeouts })).toMatchObject({ kind: 'reply', at: 'final dot', reply: { code: 250 } })
  })

  test('a timeout while the worker is blocked is a local failure', async () => {
    const { port } = await script((line) => {
      if (!line.startsWith('MAIL')) return polite(line)
      setImmediate(() => standStill(2500))
      return undefined
    })
    expect(await send(port, { timeouts })).toMatchObject({ kind: 'local', text: expect.stringContaining('stood still') })
  })
})

test('cancelling before the final dot sends nothing; after it the reply is awaited', async () => {
  const system = await startReceivingSystem()
  closers.push(system.close)
  expect(await send(system.port, { beforeContent: async () => false })).toMatchObject({ kind: 'stopped' })
  expect(system.taken).toHaveLength(0)

  const before = new AbortController()
  before.abort()
  const connected = system.connections.length
  expect(await send(system.port, { signal: before.signal })).toMatchObject({ kind: 'stopped' })
  expect(system.connections).toHaveLength(connected)

  const early = new AbortController()
  const slow = await script((line) => {
    if (line.startsWith('MAIL')) early.abort()
    return line.startsWith('MAIL') ? undefined : polite(line)
  })
  expect(await send(slow.port, { signal: early.signal })).toMatchObject({ kind: 'stopped' })

  const late = new AbortController()
  const { port } = await script((line, socket) => {
    if (line !== '.') return polite(line)
    late.abort()
    setTimeout(() => socket.write('250 2.0.0 taken\r\n'), 300)
    return undefined
  })
  expect(await send(port, { signal: late.signal })).toMatchObject({ kind: 'reply', reply: { code: 250 } })
})

describe('a missing extension is reported, and the message is not converted', () => {
  const bare = (line: string) => (line.startsWith('EHLO') ? '250 mx.example.org\r\n' : polite(line))
  const eightBit = Buffer.from('From: a@example.com\r\n\r\n12,00 €\r\n')

  test('8BITMIME', async () => {
    const without = await script(bare)
    expect(await send(without.port, { content: eightBit })).toMatchObject({ kind: 'unsupported', status: '5.6.3' })
    expect(without.heard.some((line) => line.startsWith('MAIL'))).toBe(false)
    const offers = await script(polite)
    expect(await send(offers.port, { content: eightBit })).toMatchObject({ kind: 'reply', reply: { code: 250 } })
    expect(offers.heard).toContain(`MAIL FROM:<bounces@example.com> BODY=8BITMIME SIZE=${eightBit.length}`)
  })

  test('SMTPUTF8, for addresses that need it', async () => {
    const without = await script(bare)
    expect(await send(without.port, { recipient: '用户@xn--r8jz45g.jp' })).toMatchObject({ kind: 'unsupported', status: '5.6.7' })
    const offers = await script(polite)
    expect(await send(offers.port, { recipient: '用户@xn--r8jz45g.jp' })).toMatchObject({ kind: 'reply', reply: { code: 250 } })
    expect(Buffer.from(offers.heard.find((line) => line.startsWith('RCPT')) ?? '', 'latin1').toString()).toBe(
      'RCPT TO:<用户@xn--r8jz45g.jp>',
    )
    expect(offers.heard.find((line) => line.startsWith('MAIL'))).toContain('SMTPUTF8')
  })

  test('SIZE', async () => {
    const small = await script((line) => (line.startsWith('EHLO') ? '250-mx.example.org\r\n250 SIZE 20\r\n' : polite(line)))
    expect(await send(small.port)).toMatchObject({ kind: 'unsupported', status: '5.3.4' })
  })
})

test('a relay that offers DSN gets NOTIFY parameters; one that does not gets none', async () => {
  const dsn = await script((line) => (line.startsWith('EHLO') ? '250-mx.example.org\r\n250 DSN\r\n' : polite(line)))
  await send(dsn.port, { envid: 'run-1.2' })
  expect(dsn.heard).toContain('MAIL FROM:<bounces@example.com> RET=HDRS ENVID=run-1.2')
  expect(dsn.heard).toContain('RCPT TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;ann@example.org')
  const without = await script(polite)
  await send(without.port, { envid: 'run-1.2' })
  expect(without.heard).toContain('RCPT TO:<ann@example.org>')
})

describe('TLS', () => {
  const { ca, key, cert } = makeCertificates(['DNS:localhost', 'IP:127.0.0.1'])

  const relay = async (secure = false) => {
    const heard: string[] = []
    const system = await startReceivingSystem({
      server: {
        secure,
        key,
        cert,
        disabledCommands: [],
        authOptional: false,
        onAuth: ({ username, password }, session, done) => {
          heard.push(`${username}:${password} ${session.secure ? 'over TLS' : 'in clear'}`)
          done(password === 'right' ? null : new Error('no'), { user: username })
        },
      },
    })
    closers.push(system.close)
    return { system, heard }
  }
  const credentials = { user: 'app', pass: 'right' }

  test('a password is sent only over verified TLS', async () => {
    const { system, heard } = await relay()
    const verified = await send(system.port, { path: { kind: 'relay', tls: 'verify', credentials, ca } })
    expect(verified).toMatchObject({ kind: 'reply', reply: { code: 250 } })
    expect(heard).toEqual(['app:right over TLS'])
    const unknown = await send(system.port, { path: { kind: 'relay', tls: 'verify', credentials } })
    expect(unknown).toMatchObject({ kind: 'policy', text: expect.stringContaining('TLS') })
    expect(heard).toHaveLength(1)
  })

  test('implicit TLS works', async () => {
    const { system, heard } = await relay(true)
    expect(await send(system.port, { path: { kind: 'relay', tls: 'implicit', credentials, ca } })).toMatchObject({
      kind: 'reply',
      reply: { code: 250 },
    })
    expect(heard).toEqual(['app:right over TLS'])
    expect(await send(system.port, { path: { kind: 'relay', tls: 'implicit', credentials } })).toMatchObject({ kind: 'local' })
  })

  test('a wrong password is refused at AUTH', async () => {
    const { system } = await relay()
    expect(
      await send(system.port, { path: { kind: 'relay', tls: 'verify', credentials: { user: 'app', pass: 'wrong' }, ca } }),
    ).toMatchObject({
      kind: 'reply',
      at: 'AUTH',
      reply: { code: 535 },
    })
  })

  test('a relay that does not offer STARTTLS gets no password', async () => {
    const { port, heard } = await script(polite)
    expect((await send(port, { path: { kind: 'relay', tls: 'verify', credentials } })).kind).not.toBe('accepted')
    expect(heard.some((line) => line.startsWith('AUTH') || line.startsWith('MAIL'))).toBe(false)
  })

  test('opportunistic TLS is not verified, and falls back to cleartext on failure', async () => {
    const system = await startReceivingSystem({ server: { key, cert, disabledCommands: ['AUTH'] } })
    closers.push(system.close)
    expect(await send(system.port)).toMatchObject({ kind: 'reply', reply: { code: 250 } })
    const broken = await script((line, socket) => {
      if (line.startsWith('EHLO')) return '250-mx.example.org\r\n250 STARTTLS\r\n'
      if (line !== 'STARTTLS') return polite(line)
      socket.write('220 go on\r\n')
      socket.once('data', () => socket.end('this is no TLS\r\n'))
      return undefined
    })
    expect(await send(broken.port)).toMatchObject({ kind: 'reply', at: 'final dot', reply: { code: 250 } })
    expect(broken.connections).toBe(2)
    // the refusal on the second connection counts
    const refusing = await script((line, socket, connection) => {
      if (connection === 2) return line.startsWith('MAIL') ? '450 4.3.2 not now\r\n' : polite(line)
      if (line.startsWith('EHLO')) return '250-mx.example.org\r\n250 STARTTLS\r\n'
      if (line === 'STARTTLS') socket.write('220 go on\r\n', () => socket.destroy())
      return line === 'STARTTLS' ? undefined : polite(line)
    })
    expect(await send(refusing.port)).toMatchObject({ kind: 'reply', at: 'MAIL', reply: { code: 450 } })
  })
})
