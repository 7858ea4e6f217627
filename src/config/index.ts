export { readSettings, requirePath, type Settings, showSettings, temporalEnvironment, WrongSettings } from './config.js'
export type { EncryptionKey, EncryptionSettings } from './encryption.js'
export type { ImapSettings } from './imap.js'
export { parseListen } from './parsers.js'
