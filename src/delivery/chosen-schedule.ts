/** Which schedule a message gets, if others are on trial (`retry.schedules`). */
import { createHash } from 'node:crypto'
import { addressKey, messageIdKey, type Schedules, scheduleAt } from '../bounce/index.js'

/** By a hash of message and recipient: always the same one for both, as long as the settings are the same. */
export function scheduleFor(schedules: Schedules, messageId: string, recipient: string): readonly number[] {
  if (schedules.trialSchedules.length === 0) return schedules.scheduleMs
  const digest = createHash('sha256')
    .update(`${addressKey(recipient)} ${messageIdKey(messageId)}`)
    .digest()
  return scheduleAt(schedules, digest.readUInt32BE(0) / 2 ** 32)
}
