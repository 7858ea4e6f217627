/** A message that a receiving system refuses for now, sent with `track` by the settings of a real world. */
import nodemailer from 'nodemailer'
import { expect } from 'vitest'
import { fromEnvironment, track } from '../../src/client/index.js'
import { yamlRoutes } from './config.js'
import type { RealWorld } from './real-time.js'
import type { ReceivingSystem } from './receiving-system.js'

const NOT_NOW = '421 4.3.2 System not accepting network messages'

/** Settings that sign return paths, and send everything to this system. */
export const sendingTo = ({ port }: ReceivingSystem) => ({
  SOFTBOUNCE_RETURN_PATH_KEYS: Buffer.alloc(32, 3).toString('base64'),
  SOFTBOUNCE_ROUTES: yamlRoutes(`*=127.0.0.1:${port}`),
})

/** Sends one message, which the system refuses; it refuses everything from now on. @returns its retry. */
export async function refusedSend(world: RealWorld, system: ReceivingSystem, recipient: string, schedule: string[]) {
  system.say = { rcpt: () => NOT_NOW }
  const transporter = track(
    nodemailer.createTransport({ host: '127.0.0.1', port: system.port, ignoreTLS: true }),
    fromEnvironment(world.env),
  )
  const info = await transporter.sendMail({
    ...{ from: 'shop@example.com', to: recipient, subject: 'Invoice', text: 'Thank you.', softbounce: { schedule } },
    messageId: `<${recipient}>`,
  })
  transporter.close()
  expect(info.pending).toEqual([recipient])
  return info.retries?.[0] as { workflowId: string; retryAt: string }
}
