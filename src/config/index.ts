/** The settings, from the environment and `.env`. */
export { readSettings, requireNextHop, type Settings, showSettings } from './config.js'
export type { EncryptionKey, EncryptionSettings } from './encryption.js'
export type { ImapSettings } from './imap.js'
export { parseListen } from './parsers.js'
export { temporalEnvironment } from './sources.js'
export { WrongSettings } from './wrong-settings.js'
