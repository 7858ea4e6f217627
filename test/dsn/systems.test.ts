/** Notices in the layouts of many mail systems and languages are read by the rule alone. */
import { expect, test } from 'vitest'
import { parseReport } from '../../src/dsn/index.js'
import { PROVIDERS } from '../corpus/systems/providers.js'
import { bouncesOf } from '../corpus/systems/system.js'
import { UNIX } from '../corpus/systems/unix.js'
import { WINDOWS } from '../corpus/systems/windows.js'

const SYSTEMS = [...UNIX, ...WINDOWS, ...PROVIDERS]
const ALL = SYSTEMS.flatMap(bouncesOf)

test('the corpus has at least 200 mails of at least 15 systems', () => {
  expect(SYSTEMS.length).toBeGreaterThanOrEqual(15)
  expect(ALL.length).toBeGreaterThanOrEqual(200)
})

test.each(SYSTEMS.map((system) => [system.name, bouncesOf(system)] as const))('%s', async (_, bounces) => {
  for (const { name, mail, expected } of bounces) {
    const report = await parseReport(Buffer.from(mail))
    const read = {
      recipients: report?.recipients.map(({ recipient, status }) => ({ recipient, status })),
      action: report?.recipients[0]?.action,
      ...(expected.messageId === undefined ? {} : { messageId: report?.messageId }),
    }
    expect({ name, ...read }).toEqual({ name, ...expected })
  }
})
