import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { defaultPayloadConverter, type Payload } from '@temporalio/common'
import { describe, expect, test } from 'vitest'
import { readSettings } from '../../src/config/config.js'
import { CannotDecrypt, EncryptionCodec, WorkflowIds } from '../../src/encryption/index.js'
import { yamlKeys } from '../support/config.js'

const key = (id: string) => ({ id, bytes: randomBytes(32) })
const payload = (value: unknown): Payload => defaultPayloadConverter.toPayload(value) as Payload
const value = (from: Payload | undefined) => defaultPayloadConverter.fromPayload(from as Payload)

describe('the codec', () => {
  const [old, current] = [key('k1'), key('k2')]

  test('the codec decrypts what any of its keys encrypted, and leaks no plaintext', async () => {
    const said = [{ recipient: 'ann.of.the.test@example.org' }, 'text', null, undefined, 'x'.repeat(200_000)]
    const before = await new EncryptionCodec([old]).encode(said.map(payload))
    const after = await new EncryptionCodec([current, old]).encode(said.map(payload))
    const reader = new EncryptionCodec([current, old])
    for (const encoded of [before, after]) {
      expect((await reader.decode(encoded)).map(value)).toEqual(said)
      for (const one of encoded) expect(Buffer.from(one.data as Uint8Array).includes('ann.of.the.test')).toBe(false)
    }
    expect(Buffer.from(before[0]?.metadata?.['encryption-key-id'] as Uint8Array).toString()).toBe('k1')
    expect(Buffer.from(after[0]?.metadata?.['encryption-key-id'] as Uint8Array).toString()).toBe('k2')
    // equal plaintexts have different ciphertexts
    const [one, two] = await new EncryptionCodec([old]).encode([payload('a'), payload('a')])
    expect(one?.data).not.toEqual(two?.data)
  })

  test('the codec passes plain payloads and foreign encrypted payloads through', async () => {
    const foreign = { metadata: { encoding: Buffer.from('binary/encrypted') }, data: Buffer.from('secret') }
    expect(await new EncryptionCodec([old]).decode([payload('a'), foreign])).toEqual([payload('a'), foreign])
    expect(await new EncryptionCodec([]).encode([payload('a')])).toEqual([payload('a')])
  })

  test('the codec names a missing key, and detects tampering', async () => {
    const [encoded] = (await new EncryptionCodec([old]).encode([payload('a')])) as [Payload]
    await expect(new EncryptionCodec([]).decode([encoded])).rejects.toThrow(/key "k1", which is not among encryption\.keys/)
    await expect(new EncryptionCodec([{ ...current, id: 'k1' }]).decode([encoded])).rejects.toThrow(CannotDecrypt)
    const bytes = Buffer.from(encoded.data as Uint8Array)
    for (const at of [0, 12, bytes.length - 1]) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] as number) ^ 1
      await expect(new EncryptionCodec([old]).decode([{ ...encoded, data: changed }])).rejects.toThrow(/was changed/)
    }
    for (const length of [0, 5, 12, 27]) // a truncated tag must be refused
      await expect(new EncryptionCodec([old]).decode([{ ...encoded, data: bytes.subarray(0, length) }])).rejects.toThrow(CannotDecrypt)
  })

  test('the keys are parsed from the setting', () => {
    const text = (id: string) => `${id}:${randomBytes(32).toString('base64')}`
    expect(
      readSettings({
        SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(`${text('k2')}, ${text('k1')}`),
        SOFTBOUNCE_ENCRYPTION_ID_KEY: key('id').bytes.toString('base64'),
      }).encryption.keys.map(({ id }) => id),
    ).toEqual(['k2', 'k1'])
    for (const [wrong, why] of [
      ['k1:', /keys.0.key: it must be 32 bytes/],
      [`k1:${randomBytes(16).toString('base64')}`, /32 bytes/],
      [`${text('k1')},${text('k1')}`, /a name of its own/],
    ] as const)
      expect(() =>
        readSettings({ SOFTBOUNCE_ENCRYPTION_KEYS: yamlKeys(wrong), SOFTBOUNCE_ENCRYPTION_ID_KEY: key('id').bytes.toString('base64') }),
      ).toThrow(why)
  })
})

describe('names', () => {
  interface Vector {
    readonly key: string
    readonly recipient: string
    readonly messageId: string
    readonly workflowId: string
  }
  const protocol = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  const vectors: Vector[] = JSON.parse(/```json encrypted-workflow-id-vectors\n([\s\S]*?)```/.exec(protocol)?.[1] as string)

  test('workflow IDs match the vectors in docs/protocol.md', () => {
    expect(vectors.length).toBeGreaterThan(1)
    for (const { key, recipient, messageId, workflowId } of vectors)
      expect(new WorkflowIds(Buffer.from(key, 'base64')).workflowId(recipient, messageId)).toBe(workflowId)
  })

  test('workflow IDs have HMACs of recipient and Message-ID; without a key both are plain', () => {
    const [hashed, plain] = [new WorkflowIds(key('k1').bytes), new WorkflowIds(null)]
    const id = hashed.workflowId('Ann@example.org', '<m1@example.com>')
    expect(id).toBe(hashed.workflowId('ann@example.org', 'm1@example.com'))
    expect(id).not.toBe(new WorkflowIds(key('k2').bytes).workflowId('ann@example.org', 'm1@example.com'))
    expect(hashed.prefix('ann@example.org')).toMatch(/^bounce\/hmac-[0-9a-f]{32}\/$/)
    expect(id.startsWith(hashed.prefix('ann@example.org'))).toBe(true)
    expect(hashed.hashedRecipient('Ann@example.org')).toBe(id.split('/')[1])
    expect(plain.workflowId('ann@example.org', 'm1@example.com')).toBe('bounce/ann@example.org/m1@example.com')
    expect(plain.prefix('ann@example.org')).toBe('bounce/ann@example.org/')
    expect(plain.hashedRecipient('ann@example.org')).toBeNull()
  })
})
