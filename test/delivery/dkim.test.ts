import { generateKeyPairSync } from 'node:crypto'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import DKIM from 'nodemailer/lib/dkim'
import { expect, test } from 'vitest'
import { canonicalMessage, isAuthoredBy, signMessage, transact } from '../../src/delivery/index.js'
import { startReceivingSystem } from '../support/receiving-system.js'
import { QUICK } from '../support/skipping-time.js'

const { privateKey, publicKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'der' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})

/** A resolver that knows only this key. */
const resolver = async (name: string, type: string): Promise<string[][]> => {
  if (name === 'k._domainkey.example.com' && type === 'TXT') return [[`v=DKIM1; k=rsa; p=${publicKey.toString('base64')}`]]
  throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
}

async function sign(message: string): Promise<Buffer> {
  const signer = new DKIM({ domainName: 'example.com', keySelector: 'k', privateKey })
  const chunks: Buffer[] = []
  for await (const chunk of signer.sign(message)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

async function verdicts(message: Buffer): Promise<string[]> {
  const { results } = await dkimVerify(message, { resolver })
  return results.map((result: { status: { result: string } }) => result.status.result)
}

test('an existing DKIM signature still verifies after the retry', async () => {
  const message = [
    'From: Example Shop <shop@example.com>',
    'To: ann@example.org',
    'Subject: =?utf-8?Q?Rechnung_=C3=BCber?= 12,00',
    'Message-ID: <m@example.com>',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 8bit',
    '',
    '.hidden and ..dots, 12,00 €  ',
    '',
    '\ttabs  and   spaces ',
    '.',
    'end',
    '',
  ].join('\r\n')
  const signed = await sign(message)
  expect(await verdicts(signed)).toEqual(['pass'])
  const stored = canonicalMessage(Buffer.concat([Buffer.from('Return-Path: <bounces@example.com>\r\nBcc: eve@example.net\r\n'), signed]))
  const system = await startReceivingSystem()
  try {
    await transact({
      path: { kind: 'system', host: '127.0.0.1', port: system.port, tls: 'off' },
      ehloDomain: 'softbounce.example.com',
      timeouts: QUICK,
      sender: 'bounces@example.com',
      recipient: 'ann@example.org',
      content: stored,
      beforeContent: async () => true,
    })
    const [taken] = system.taken
    expect(taken?.content.equals(signed)).toBe(true)
    expect(await verdicts(taken?.content as Buffer)).toEqual(['pass'])
    // and the verifier detects changes
    expect(await verdicts(Buffer.from(signed.toString('latin1').replace('end', 'End'), 'latin1'))).not.toEqual(['pass'])
  } finally {
    await system.close()
  }
})

test('direct delivery signs a message without changing its own bytes', async () => {
  const message = Buffer.from('From: "Shop, The" <shop@mail.example.com>\r\nSubject: x\r\n\r\n.body\r\n\r\n')
  const signed = await signMessage(message, { domain: 'example.com', selector: 'k', privateKey })
  expect(signed.subarray(signed.length - message.length).equals(message)).toBe(true)
  expect(signed.toString()).toMatch(/^DKIM-Signature: [^\0]*d=example\.com[^\0]*\r\nFrom: "Shop/)
  expect(await verdicts(signed)).toEqual(['pass'])
  expect(isAuthoredBy(message, 'example.com')).toBe(true)
  expect(isAuthoredBy(message, 'other.com')).toBe(false)
})
