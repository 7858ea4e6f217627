/** The settings: one schema, from `softbounce.yaml`, the environment, or the program itself. */
export { checkedSettings, hasNextHop, readSettings, requireNextHop, type Settings, settingsFrom } from './config.js'
export type { EncryptionKey, EncryptionSettings } from './encryption.js'
export { isLoopback, parseListen } from './field.js'
export { fromEnvironment } from './from-environment.js'
export type { ImapSettings } from './intake.js'
export type { Config } from './options.js'
export { jsonSchema } from './schema.js'
export { WrongSettings } from './wrong-settings.js'
