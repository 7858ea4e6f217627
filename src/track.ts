/** `softbounce/track`: tracks what a nodemailer transporter sends. Loads nothing of Temporal. */
export { track } from './client/track.js'
export * from './client/track-options.js'
export { fromEnvironment } from './config/from-environment.js'
export type { Config } from './config/options.js'
export { WrongSettings } from './config/wrong-settings.js'
export { UnsendableMessage } from './delivery/canonical-message.js'
export type { Suppression, SuppressionReason } from './suppression/look-up.js'
