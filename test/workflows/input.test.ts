import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { storeMessage } from '../../src/store/index.js'
import { type ReceivingSystem, startReceivingSystem } from '../support/receiving-system.js'
import { bounced, failureOf, MESSAGE, start, startWorld, type World } from '../support/skipping-time.js'

let world: World
let system: ReceivingSystem
beforeAll(async () => {
  system = await startReceivingSystem()
  world = await startWorld({ settings: { routes: `*=127.0.0.1:${system.port}`, ownHosts: ['mx.example.com', '*.own.example'] } })
})
afterAll(async () => {
  await world.close()
  await system.close()
})
const recipient = () => `u${randomUUID().slice(0, 8)}@example.org`
const message = async (more: Parameters<typeof bounced>[1] = {}) => bounced(await world.currentTime(), { recipient: recipient(), ...more })
const raw = (input: unknown, workflowId = `bounce/${randomUUID()}`, options = {}) =>
  world.environment.client.workflow.start('retryBouncedMessage', { taskQueue: 'softbounce', workflowId, args: [input], ...options })

describe('invalid input fails the workflow at once, with a clear failure', () => {
  test('a missing field is refused by name', async () => {
    expect(await failureOf(await raw({ recipient: 'ann@example.org' }))).toMatchObject({
      type: 'InvalidBouncedMessage',
      message: expect.stringContaining('messageId is missing; sender is missing; message is missing; bounce is missing'),
    })
  })

  test('a missing argument is refused', async () => {
    const handle = await world.environment.client.workflow.start('retryBouncedMessage', {
      taskQueue: 'softbounce',
      workflowId: randomUUID(),
      args: [],
    })
    expect(await failureOf(handle)).toMatchObject({ type: 'InvalidBouncedMessage' })
  })

  test('the null sender is refused', async () => {
    expect(await failureOf(await start(world, await message({ sender: '' })))).toMatchObject({
      message: expect.stringContaining('null sender'),
    })
  })

  test('a wrong workflow ID is refused, naming the right one', async () => {
    const input = await message()
    const { type, message: text } = await failureOf(await raw(input, 'my-own-id'))
    expect(type).toBe('InvalidBouncedMessage')
    expect(text).toContain(`"bounce/${input.recipient}/m1@example.com"`)
  })

  test('a status that is not retried is refused, naming the setting', async () => {
    expect(await failureOf(await start(world, await message({ bounce: { status: '4.2.2', diagnostic: '452 4.2.2 full' } })))).toMatchObject(
      {
        type: 'InvalidBouncedMessage',
        message: expect.stringContaining('retry.statuses'),
      },
    )
  })

  test('a bounce from the future is refused', async () => {
    const bouncedAt = new Date((await world.currentTime()).getTime() + 86_400_000).toISOString()
    expect(await failureOf(await start(world, await message({ bounce: { bouncedAt } })))).toMatchObject({
      message: expect.stringContaining('future'),
    })
  })

  test('a run or execution timeout shorter than the schedule is refused', async () => {
    for (const timeout of ['workflowRunTimeout', 'workflowExecutionTimeout']) {
      const input = await message()
      const handle = await raw(input, `bounce/${input.recipient}/m1@example.com`, { [timeout]: '40 hours' })
      expect(await failureOf(handle)).toMatchObject({
        type: 'InvalidBouncedMessage',
        message: expect.stringContaining('timeout of 1 d 16 h'),
      })
    }
    const input = await message()
    const enough = await raw(input, `bounce/${input.recipient}/m1@example.com`, { workflowRunTimeout: '50 hours' })
    expect(await enough.result()).toMatchObject({ outcome: 'delivered' })
  })

  test('an inline message over 128 KiB is refused', async () => {
    const long = `From: a@example.com\r\n\r\n${'x'.repeat(70).concat('\r\n').repeat(1900)}`
    expect(await failureOf(await start(world, await message({ message: { raw: long } })))).toMatchObject({ type: 'MessageTooLarge' })
    expect(
      await failureOf(await start(world, await message({ message: { rawBase64: Buffer.from(long).toString('base64') } }))),
    ).toMatchObject({ type: 'MessageTooLarge' })
  })

  test('an unknown key of the message store is refused', async () => {
    expect(await failureOf(await start(world, await message({ message: { stored: 'sha256-none' } })))).toMatchObject({
      type: 'MessageNotFound',
      message: expect.stringContaining('sha256-none'),
    })
  })

  test('a message that SMTP cannot carry is refused', async () => {
    for (const text of ['no header', 'From: a@b\r\n\r\na\0b', `From: a@b\r\n\r\n${'x'.repeat(2000)}`])
      expect(await failureOf(await start(world, await message({ message: { raw: text } })))).toMatchObject({
        type: 'InvalidBouncedMessage',
      })
  })

  test.each([
    ['binary/encrypted', { encoding: Buffer.from('binary/encrypted') }],
    ['not given', {}],
  ])('a payload with encoding %s instead of JSON is refused', async (encoding, metadata) => {
    const { workflowService } = world.environment.connection
    const workflowId = randomUUID()
    await workflowService.startWorkflowExecution({
      namespace: 'default',
      workflowId,
      workflowType: { name: 'retryBouncedMessage' },
      taskQueue: { name: 'softbounce' },
      requestId: randomUUID(),
      input: { payloads: [{ metadata, data: Buffer.from('secret') }] },
    })
    const handle = world.environment.client.workflow.getHandle(workflowId)
    expect(await failureOf(handle)).toMatchObject({ type: 'InvalidBouncedMessage', message: expect.stringContaining(encoding) })
  })
})

describe('valid input', () => {
  test('base64 carries any bytes', async () => {
    const bytes = Buffer.from('From: a@example.com\r\n\r\nlatin1: \xe4\xf6\r\n', 'latin1')
    system.taken.length = 0
    expect(await (await start(world, await message({ message: { rawBase64: bytes.toString('base64') } }))).result()).toMatchObject({
      outcome: 'delivered',
    })
    expect(system.taken[0]?.content.equals(bytes)).toBe(true)
  })

  test('a stored message may have any size', async () => {
    const large = Buffer.from(`From: a@example.com\r\n\r\n${'x'.repeat(70).concat('\r\n').repeat(20_000)}`)
    const stored = await storeMessage(world.database.db, large, new Date())
    system.taken.length = 0
    expect(await (await start(world, await message({ message: { stored } }))).result()).toMatchObject({ outcome: 'delivered' })
    expect(system.taken[0]?.content.equals(large)).toBe(true)
  })

  test('Bcc and Return-Path are not passed on', async () => {
    system.taken.length = 0
    await (
      await start(world, await message({ message: { raw: `Return-Path: <x@example.com>\r\nBcc: eve@example.net\r\n${MESSAGE}` } }))
    ).result()
    expect(system.taken[0]?.content.toString()).toBe(MESSAGE)
  })

  test('internationalized addresses work, with the recipient as written in the envelope', async () => {
    system.taken.length = 0
    const input = await message({ recipient: `Jörg${Date.now()}@Bücher.example` })
    const workflowId = `bounce/jörg${input.recipient.slice(4, -15)}@xn--bcher-kva.example/m1@example.com`
    expect(await (await start(world, input, workflowId)).result()).toMatchObject({ outcome: 'delivered' })
    expect(system.taken[0]?.to[0]).toMatch(/^Jörg\d+@/)
  })
})

test('a lone surrogate in the destination is refused, as it would crash the worker', async () => {
  const handle = await start(world, bounced(await world.currentTime(), { recipient: 'half@example.org', destination: 'x\ud800y' }))
  expect(await failureOf(handle)).toMatchObject({ type: 'InvalidBouncedMessage', message: expect.stringContaining('destination') })
})

describe('the destination', () => {
  const destinationOf = async (more: Parameters<typeof bounced>[1]) => {
    const input = await message(more)
    await (await start(world, input)).result()
    const row = await world.database.db
      .selectFrom('attempts')
      .select('destination')
      .where('recipient', '=', input.recipient)
      .executeTakeFirstOrThrow()
    return row.destination
  }

  test('the destination is the registrable domain of the remote MTA, else the recipient’s domain', async () => {
    expect(await destinationOf({ bounce: { remoteMta: 'mx1.mail.provider.co.uk' } })).toBe('provider.co.uk')
    expect(await destinationOf({ bounce: { remoteMta: 'dns; MX1.Provider.example.NET (192.0.2.1)' } })).toBe('example.net')
    expect(await destinationOf({ bounce: { remoteMta: '192.0.2.1' } })).toBe('example.org')
    expect(await destinationOf({})).toBe('example.org')
    expect(await destinationOf({ destination: 'Given.Example', bounce: { remoteMta: 'mx.other.example' } })).toBe('given.example')
  })

  test('the destination is never one of our own hosts', async () => {
    expect(await destinationOf({ bounce: { remoteMta: 'mx.example.com' } })).toBe('example.org')
    expect(await destinationOf({ bounce: { remoteMta: 'out1.own.example' } })).toBe('example.org')
  })
})
