/**
 * What a bounce means: status codes, replies, the verdict, the schedule, addresses and identity.
 * Pure: no clock, no randomness, no input or output; imports nothing outside this folder.
 */
export * from './address.js'
export * from './bounced-message.js'
export * from './correlation.js'
export * from './effective-status.js'
export * from './events.js'
export * from './identity.js'
export * from './quoted-reply.js'
export * from './recipient-texts.js'
export * from './reply.js'
export * from './retry-result.js'
export * from './schedule.js'
export * from './status.js'
export * from './status-words.js'
export * from './token.js'
export * from './trial-schedules.js'
export * from './verdict.js'
