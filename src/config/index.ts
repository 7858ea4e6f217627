/** The settings: one schema, from `softbounce.yaml`, the environment, or the program itself. */
export { fromEnvironment, readSettings, requireNextHop, type Settings, settingsFrom } from './config.js'
export type { EncryptionKey, EncryptionSettings } from './encryption.js'
export { isLoopback, parseListen } from './field.js'
export type { ImapSettings } from './intake.js'
export { type Config, jsonSchema } from './schema.js'
export { WrongSettings } from './wrong-settings.js'
